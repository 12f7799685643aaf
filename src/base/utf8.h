#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace graft {

// The offset of the first byte that is not well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, surrogates or
// code points above U+10FFFF), or nothing where all of it is.
std::optional<size_t> find_invalid_utf8(std::string_view text);

// Bytes in the well-formed sequence that starts at i < text.size(); 0 where there is none.
size_t utf8_sequence_length(std::string_view text, size_t i);

// Appends a code point: no surrogate, at most U+10FFFF.
void append_utf8(std::string& text, uint32_t code_point);

inline bool is_valid_utf8(std::string_view text) { return !find_invalid_utf8(text).has_value(); }

}  // namespace graft
