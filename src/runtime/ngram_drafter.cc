#include "runtime/ngram_drafter.h"

#include <algorithm>

namespace graft::runtime {
namespace {

uint64_t hash_of(std::span<const int32_t> run) {
  uint64_t hash = run.size();
  for (const int32_t token : run) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace

void NgramDrafter::index(std::span<const int32_t> tokens) {
  const auto size = static_cast<int32_t>(tokens.size());
  for (int32_t follower = std::max(indexed_, kShortest); follower < size; ++follower) {
    for (int32_t n = kShortest; n <= std::min(kLongest, follower); ++n) {
      const auto run = tokens.subspan(static_cast<size_t>(follower - n), static_cast<size_t>(n));
      followers_[n - kShortest][hash_of(run)] = follower;
    }
  }
  indexed_ = size;
}

int64_t NgramDrafter::find(std::span<const int32_t> tokens, int32_t n) const {
  if (static_cast<int32_t>(tokens.size()) < n) return -1;
  const auto run = tokens.last(static_cast<size_t>(n));
  const auto& followers = followers_[n - kShortest];
  const auto found = followers.find(hash_of(run));
  if (found == followers.end()) return -1;
  // Two runs may share a hash.
  const auto there = tokens.subspan(static_cast<size_t>(found->second - n), static_cast<size_t>(n));
  return std::equal(run.begin(), run.end(), there.begin()) ? found->second : -1;
}

std::vector<int32_t> NgramDrafter::propose(std::span<const int32_t> tokens, int32_t limit) {
  index(tokens);
  std::vector<int32_t> guesses;
  for (int32_t n = kLongest; n >= kShortest && limit > 0; --n) {
    const int64_t follower = find(tokens, n);
    if (follower < 0) continue;
    // Beyond the end the guesses themselves are what follows: a loop goes round again.
    for (int32_t i = 0; i < limit; ++i) {
      const auto at = static_cast<size_t>(follower + i);
      guesses.push_back(at < tokens.size() ? tokens[at] : guesses[at - tokens.size()]);
    }
    break;
  }
  return guesses;
}

}  // namespace graft::runtime
