#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace graft::serving::api {

// Whether this byte of UTF-8 begins a code point.
inline bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }

inline size_t count_characters(std::string_view utf8) {  // code points
  return static_cast<size_t>(std::count_if(utf8.begin(), utf8.end(), begins_character));
}

}  // namespace graft::serving::api
