#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "text/unicode/offset_map.h"

namespace graft::text {

// How a run of bytes at the start of `text` reads: valid UTF-8 of `size` bytes, an invalid sequence that becomes one
// U+FFFD, or the beginning of a character whose rest is missing.
struct Utf8Run {
  enum Kind { kValid, kInvalid, kIncomplete } kind = kValid;
  size_t size = 0;
};
Utf8Run next_utf8_run(std::string_view text);

// Every maximal prefix of an ill-formed sequence becomes U+FFFD: Unicode's recommended practice, and what Rust's
// String::from_utf8_lossy does. `map`, where given, receives the places that changed.
std::string lossy_utf8(std::string_view text, OffsetMap* map = nullptr);

}  // namespace graft::text
