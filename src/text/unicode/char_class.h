#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace graft::text {

enum CharClass : uint8_t {
  kLetter = 1,
  kNumber = 2,
  kSpace = 4,  // Unicode White_Space
  kDigit = 8,  // numeric in the sense of the pre-tokenizer Digits
  kWordChar = 16,
  kPunctuation = 32,
  kControl = 64,      // what BERT's cleaning removes
  kNonspacing = 128,  // what BERT's strip_accents removes
};

// Which classes a code point belongs to: two look-ups in tables of a few tens of kilobytes, made at first use.
class CharClasses {
 public:
  static const CharClasses& get();

  [[nodiscard]] uint8_t of(char32_t c) const {
    if (c < 0x80) return ascii_[c];
    if (c > 0x10FFFF) return 0;
    return pages_[page_of_[c >> 8] * 256U + (c & 0xFF)];
  }
  [[nodiscard]] bool is(char32_t c, uint8_t any_of) const { return (of(c) & any_of) != 0; }

 private:
  CharClasses();
  std::array<uint8_t, 128> ascii_{};
  std::array<uint16_t, 0x1100> page_of_{};
  std::vector<uint8_t> pages_;
};

}  // namespace graft::text
