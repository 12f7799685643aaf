#include "recipe/split.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/philox.h"
#include "recipe/random_streams.h"

namespace graft::recipe {
namespace {

struct Word {
  std::string_view word;
  Split split;
};
constexpr std::array kWords = {
    Word{"0", Split::kTrain},
    Word{"1", Split::kValidation},
    Word{"2", Split::kTest},
    Word{"train", Split::kTrain},
    Word{"training", Split::kTrain},
    Word{"validation", Split::kValidation},
    Word{"valid", Split::kValidation},
    Word{"val", Split::kValidation},
    Word{"dev", Split::kValidation},
    Word{"eval", Split::kValidation},
    Word{"test", Split::kTest},
    Word{"testing", Split::kTest},
    Word{"evaluation", Split::kValidation},
};

// How many of `count` rows each split gets.
std::array<size_t, 3> shares_of(size_t count, const std::vector<double>& probabilities) {
  std::array<size_t, 3> shares{};
  std::array<double, 3> rest{};
  size_t given = 0;
  for (size_t i = 0; i < 3; ++i) {
    // A share that is a whole number but for rounding is that number.
    const double exact = probabilities[i] * static_cast<double>(count);
    const double whole = std::floor(exact + 1e-9);
    shares[i] = std::min(static_cast<size_t>(whole), count - given);
    rest[i] = probabilities[i] == 0 ? -1 : exact - whole;
    given += shares[i];
  }
  for (; given < count; ++given) {
    const auto most = static_cast<size_t>(std::max_element(rest.begin(), rest.end()) - rest.begin());
    ++shares[most];
    rest[most] -= 1;
  }
  return shares;
}

}  // namespace

std::optional<Split> split_named(std::string_view word) {
  std::string lower(word);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (const Word& known : kWords) {
    if (known.word == lower) return known.split;
  }
  return std::nullopt;
}

Split random_split(uint64_t seed, int64_t row, const std::vector<double>& probabilities) {
  const double at = PhiloxStream(seed, random_stream(RandomUse::kSplit, static_cast<uint64_t>(row))).next_double();
  // A share of 0 gets nothing, however the sum of the others was rounded.
  if (at < probabilities[0] || (probabilities[1] == 0 && probabilities[2] == 0)) return Split::kTrain;
  if (at < probabilities[0] + probabilities[1] || probabilities[2] == 0) return Split::kValidation;
  return Split::kTest;
}

std::vector<Split> stratified_split(std::span<const int32_t> groups, uint64_t seed,
                                    const std::vector<double>& probabilities) {
  std::vector<std::vector<size_t>> members;
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto group = static_cast<size_t>(groups[i]);
    if (group >= members.size()) members.resize(group + 1);
    members[group].push_back(i);
  }
  std::vector<Split> splits(groups.size(), Split::kTrain);
  for (size_t group = 0; group < members.size(); ++group) {
    philox_shuffle(std::span(members[group]), seed, random_stream(RandomUse::kStratify, group));
    const auto shares = shares_of(members[group].size(), probabilities);
    for (size_t i = shares[0]; i < members[group].size(); ++i) {
      splits[members[group][i]] = i < shares[0] + shares[1] ? Split::kValidation : Split::kTest;
    }
  }
  return splits;
}

}  // namespace graft::recipe
