#include "base/strings.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "base/utf8.h"

namespace graft {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Optimal string alignment distance, three rows at a time.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> previous(b.size() + 1);
  std::vector<size_t> current(b.size() + 1);
  std::iota(previous.begin(), previous.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1])) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

}  // namespace

std::optional<std::string> did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  constexpr size_t kLongestWord = 256;  // hostile keys must not cost quadratic time
  if (word.empty() || word.size() > kLongestWord) return std::nullopt;
  const size_t allowed = std::max<size_t>(1, word.size() / 3);
  size_t best = std::numeric_limits<size_t>::max();
  std::optional<std::string> nearest;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const size_t distance = edit_distance(word, candidate);
    if (distance < best && distance <= allowed) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string suggestion(std::string_view word, std::span<const std::string> candidates) {
  if (const auto nearest = did_you_mean(word, candidates)) return "; did you mean '" + *nearest + "'?";
  if (candidates.empty()) return "";
  return "; known: " + join(candidates, ", ");
}

std::string printable(std::string_view text, size_t limit) {
  std::string shown;
  const size_t half = limit / 2;
  for (size_t i = 0; i < text.size();) {
    if (i >= half && text.size() - i > half && shown.size() >= half) {
      shown += "...";
      i = text.size() - half;
      while (i < text.size() && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) ++i;
      shown += printable(text.substr(i), limit);
      return shown;
    }
    const size_t length = utf8_sequence_length(text, i);
    const auto byte = static_cast<unsigned char>(text[i]);
    if (length == 0 || (length == 1 && (byte < 0x20 || byte == 0x7F))) {
      shown += '?';
      ++i;
    } else {
      shown += text.substr(i, length);
      i += length;
    }
  }
  return shown;
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += separator;
    text += parts[i];
  }
  return text;
}

}  // namespace graft
