#include "text/stages/byte_level.h"

#include "text/unicode/code_points.h"

namespace graft::text {

const ByteAlphabet& ByteAlphabet::get() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

ByteAlphabet::ByteAlphabet() {
  byte_.fill(-1);
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const char32_t character = printable ? static_cast<char32_t>(byte) : next++;
    character_[static_cast<size_t>(byte)] = character;
    byte_[character] = static_cast<int16_t>(byte);
  }
}

std::string ByteAlphabet::encode(std::string_view bytes) const {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) append_utf8(text, character(static_cast<uint8_t>(c)));
  return text;
}

std::optional<std::string> ByteAlphabet::decode(std::string_view text) const {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const int value = byte(c.value);
    if (value < 0) return std::nullopt;
    bytes += static_cast<char>(static_cast<unsigned char>(value));
    i += c.size;
  }
  return bytes;
}

}  // namespace graft::text
