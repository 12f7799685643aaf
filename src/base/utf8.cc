#include "base/utf8.h"

#include <cstdint>
#include <cstring>

namespace graft {
namespace {

uint8_t byte_at(std::string_view text, size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; }

bool in(uint8_t byte, uint8_t low, uint8_t high) { return byte >= low && byte <= high; }

}  // namespace

// Missing bytes read as 0, which no range of continuation bytes holds.
size_t utf8_sequence_length(std::string_view text, size_t i) {
  const uint8_t a = byte_at(text, i);
  const uint8_t b = byte_at(text, i + 1);
  if (a < 0x80) return 1;
  if (in(a, 0xC2, 0xDF)) return in(b, 0x80, 0xBF) ? 2 : 0;
  const uint8_t c = byte_at(text, i + 2);
  if (in(a, 0xE0, 0xEF)) {
    const uint8_t low = a == 0xE0 ? 0xA0 : 0x80;
    const uint8_t high = a == 0xED ? 0x9F : 0xBF;
    return in(b, low, high) && in(c, 0x80, 0xBF) ? 3 : 0;
  }
  if (in(a, 0xF0, 0xF4)) {
    const uint8_t low = a == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = a == 0xF4 ? 0x8F : 0xBF;
    return in(b, low, high) && in(c, 0x80, 0xBF) && in(byte_at(text, i + 3), 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    uint64_t word = 0;
    if (i + 8 <= text.size()) {
      std::memcpy(&word, text.data() + i, 8);
      if ((word & 0x8080808080808080) == 0) {  // eight times ASCII
        i += 8;
        continue;
      }
    }
    const size_t length = utf8_sequence_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

void append_utf8(std::string& text, uint32_t code_point) {
  const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((code_point >> shift) & 0x3F)); };
  if (code_point < 0x80) {
    text += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    text += static_cast<char>(0xC0 | (code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    text += static_cast<char>(0xE0 | (code_point >> 12));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0 | (code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace graft
