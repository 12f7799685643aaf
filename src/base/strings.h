#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// The candidate nearest to `word` by edit distance (insert, delete, replace, swap of neighbours; case ignored), where
// one is near enough to be a likely typing mistake.
std::optional<std::string> did_you_mean(std::string_view word, std::span<const std::string> candidates);

// The tail of an error about an unknown name: "; did you mean 'epochs'?", or "; known: a, b, c" where nothing is near.
std::string suggestion(std::string_view word, std::span<const std::string> candidates);

// Text from outside, fit for a one-line message: control characters and invalid UTF-8 become '?', and what is longer
// than `limit` bytes loses its middle.
std::string printable(std::string_view text, size_t limit = 160);

std::string join(std::span<const std::string> parts, std::string_view separator);

}  // namespace graft
