#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace graft::text {

// GPT-2's byte-level alphabet: every byte is written as one printable character, so that any bytes are text. Printable
// Latin-1 bytes stand for themselves, the others for U+0100 and up.
class ByteAlphabet {
 public:
  static const ByteAlphabet& get();

  [[nodiscard]] char32_t character(uint8_t byte) const { return character_[byte]; }
  // -1 where the character is not of the alphabet.
  [[nodiscard]] int byte(char32_t character) const { return character < byte_.size() ? byte_[character] : -1; }

  [[nodiscard]] std::string encode(std::string_view bytes) const;
  // Nothing where a character is not of the alphabet. The text must be valid UTF-8.
  [[nodiscard]] std::optional<std::string> decode(std::string_view text) const;

 private:
  ByteAlphabet();
  std::array<char32_t, 256> character_{};
  std::array<int16_t, 0x144> byte_{};
};

}  // namespace graft::text
