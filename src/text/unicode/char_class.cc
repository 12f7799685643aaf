#include "text/unicode/char_class.h"

#include <algorithm>
#include <map>
#include <span>

#include "text/unicode/normalizing_tables.h"
#include "text/unicode/tables.h"

namespace graft::text {
namespace {

constexpr CodePointRange kSpaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                      {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                      {0x205F, 0x205F}, {0x3000, 0x3000}};

void mark(std::vector<uint8_t>& flat, std::span<const CodePointRange> ranges, uint8_t bit) {
  for (const CodePointRange& range : ranges) {
    for (char32_t c = range.low; c <= range.high; ++c) flat[c] |= bit;
  }
}

}  // namespace

const CharClasses& CharClasses::get() {
  static const CharClasses classes;
  return classes;
}

CharClasses::CharClasses() {
  std::vector<uint8_t> flat(0x110000);
  mark(flat, letter_ranges(), kLetter);
  mark(flat, number_ranges(), kNumber);
  mark(flat, kSpaces, kSpace);
  mark(flat, digit_ranges(), kDigit);
  mark(flat, word_ranges(), kWordChar);
  mark(flat, punctuation_ranges(), kPunctuation);
  mark(flat, control_ranges(), kControl);
  mark(flat, nonspacing_ranges(), kNonspacing);
  std::copy_n(flat.begin(), ascii_.size(), ascii_.begin());
  std::map<std::vector<uint8_t>, uint16_t> known;  // equal pages are stored once
  for (size_t page = 0; page < page_of_.size(); ++page) {
    const auto begin = flat.begin() + static_cast<std::ptrdiff_t>(page * 256);
    std::vector<uint8_t> content(begin, begin + 256);
    const auto [entry, is_new] = known.emplace(content, static_cast<uint16_t>(known.size()));
    if (is_new) pages_.insert(pages_.end(), content.begin(), content.end());
    page_of_[page] = entry->second;
  }
}

}  // namespace graft::text
