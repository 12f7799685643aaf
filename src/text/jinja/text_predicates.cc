#include "text/jinja/text_predicates.h"

#include <utf8proc.h>

#include <algorithm>
#include <span>

#include "text/jinja/python_text.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"
#include "text/unicode/special_casing.h"

namespace graft::text::jinja {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_in(std::span<const CodePointRange> ranges, char32_t c) {
  const auto next = std::upper_bound(ranges.begin(), ranges.end(), c,
                                     [](char32_t value, const CodePointRange& range) { return value < range.low; });
  return next != ranges.begin() && c <= (next - 1)->high;
}

// Digits that are no decimal digits: superscripts, circled ones (Unicode's Numeric_Type=Digit).
constexpr CodePointRange kOtherDigits[] = {
    {0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
    {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
    {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
    {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};

// Ideographs that stand for numbers.
constexpr CodePointRange kNumericLetters[] = {
    {0x3405, 0x3405},   {0x3483, 0x3483},   {0x382A, 0x382A},   {0x3B4D, 0x3B4D},   {0x4E00, 0x4E00},
    {0x4E03, 0x4E03},   {0x4E07, 0x4E07},   {0x4E09, 0x4E09},   {0x4E5D, 0x4E5D},   {0x4E8C, 0x4E8C},
    {0x4E94, 0x4E94},   {0x4E96, 0x4E96},   {0x4EBF, 0x4EC0},   {0x4EDF, 0x4EDF},   {0x4EE8, 0x4EE8},
    {0x4F0D, 0x4F0D},   {0x4F70, 0x4F70},   {0x5104, 0x5104},   {0x5146, 0x5146},   {0x5169, 0x5169},
    {0x516B, 0x516B},   {0x516D, 0x516D},   {0x5341, 0x5341},   {0x5343, 0x5345},   {0x534C, 0x534C},
    {0x53C1, 0x53C4},   {0x56DB, 0x56DB},   {0x58F1, 0x58F1},   {0x58F9, 0x58F9},   {0x5E7A, 0x5E7A},
    {0x5EFE, 0x5EFF},   {0x5F0C, 0x5F0E},   {0x5F10, 0x5F10},   {0x62FE, 0x62FE},   {0x634C, 0x634C},
    {0x67D2, 0x67D2},   {0x6F06, 0x6F06},   {0x7396, 0x7396},   {0x767E, 0x767E},   {0x8086, 0x8086},
    {0x842C, 0x842C},   {0x8CAE, 0x8CAE},   {0x8CB3, 0x8CB3},   {0x8D30, 0x8D30},   {0x9621, 0x9621},
    {0x9646, 0x9646},   {0x964C, 0x964C},   {0x9678, 0x9678},   {0x96F6, 0x96F6},   {0xF96B, 0xF96B},
    {0xF973, 0xF973},   {0xF978, 0xF978},   {0xF9B2, 0xF9B2},   {0xF9D1, 0xF9D1},   {0xF9D3, 0xF9D3},
    {0xF9FD, 0xF9FD},   {0x20001, 0x20001}, {0x20064, 0x20064}, {0x200E2, 0x200E2}, {0x20121, 0x20121},
    {0x2092A, 0x2092A}, {0x20983, 0x20983}, {0x2098C, 0x2098C}, {0x2099C, 0x2099C}, {0x20AEA, 0x20AEA},
    {0x20AFD, 0x20AFD}, {0x20B19, 0x20B19}, {0x22390, 0x22390}, {0x22998, 0x22998}, {0x23B1B, 0x23B1B},
    {0x2626D, 0x2626D}, {0x2F890, 0x2F890}};

// Capitals that are no letters: Roman numerals, circled and squared ones (Other_Uppercase).
constexpr CodePointRange kOtherUpper[] = {
    {0x2160, 0x216F}, {0x24B6, 0x24CF}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

bool is_title_character(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }

bool is_alpha(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT ||
         kind == UTF8PROC_CATEGORY_LM || kind == UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) { return is_decimal(c) || is_in(kOtherDigits, c); }
bool is_numeric(char32_t c) {
  const auto kind = category(c);
  return is_digit(c) || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO || is_in(kNumericLetters, c);
}
bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }

template <class Holds>
bool all(std::string_view text, Holds holds) {
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (!holds(c.value)) return false;
    i += c.size;
  }
  return true;
}

template <class Holds>
bool all_of_some(std::string_view text, Holds holds) {
  return !text.empty() && all(text, holds);
}

}  // namespace

bool is_upper_character(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU || is_in(kOtherUpper, c); }

bool is_lower_character(char32_t c) {
  return is_in(cased_ranges(), c) && !is_upper_character(c) && !is_title_character(c);
}

bool is_printable_character(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

bool is_alpha_text(std::string_view text) { return all_of_some(text, is_alpha); }
bool is_alnum_text(std::string_view text) { return all_of_some(text, is_alnum); }
bool is_decimal_text(std::string_view text) { return all_of_some(text, is_decimal); }
bool is_digit_text(std::string_view text) { return all_of_some(text, is_digit); }
bool is_numeric_text(std::string_view text) { return all_of_some(text, is_numeric); }
bool is_space_text(std::string_view text) { return all_of_some(text, is_python_space); }
bool is_printable_text(std::string_view text) { return all(text, is_printable_character); }
bool is_ascii_text(std::string_view text) {
  return all(text, [](char32_t c) { return c < 0x80; });
}

bool is_upper_text(std::string_view text) {
  bool cased = false;
  const bool none_lower = all(text, [&](char32_t c) {
    cased = cased || is_upper_character(c);
    return !is_lower_character(c) && !is_title_character(c);
  });
  return cased && none_lower;
}

bool is_lower_text(std::string_view text) {
  bool cased = false;
  const bool none_upper = all(text, [&](char32_t c) {
    cased = cased || is_lower_character(c);
    return !is_upper_character(c) && !is_title_character(c);
  });
  return cased && none_upper;
}

// Capitals follow characters without case only, small letters follow cased ones only.
bool is_title_text(std::string_view text) {
  bool cased = false;
  bool after_cased = false;
  const bool ordered = all(text, [&](char32_t c) {
    const bool upper = is_upper_character(c) || is_title_character(c);
    const bool lower = !upper && is_lower_character(c);
    if ((upper && after_cased) || (lower && !after_cased)) return false;
    after_cased = upper || lower;
    cased = cased || after_cased;
    return true;
  });
  return cased && ordered;
}

bool is_identifier_text(std::string_view text) {
  bool first = true;
  return all_of_some(text, [&](char32_t c) {
    const bool fits = c == '_' || CharClasses::get().is(c, first ? kLetter : kWordChar);
    first = false;
    return fits;
  });
}

}  // namespace graft::text::jinja
