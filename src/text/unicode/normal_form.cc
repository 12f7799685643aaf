#include "text/unicode/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "text/unicode/code_points.h"
#include "text/unicode/normalizing_tables.h"
#include "text/unicode/tables.h"
#include "text/unicode/text_rewrite.h"

namespace graft::text {
namespace {

// Characters with a combining class or a canonical decomposition that were assigned after Unicode 9 (up to 17).
constexpr CodePointRange kNewerThanUnicode9[] = {
    {0x7FD, 0x7FD},     {0x897, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1AEB},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x105C9, 0x105C9}, {0x105D2, 0x105E4}, {0x10D24, 0x10D27}, {0x10D69, 0x10D6D},
    {0x10EAB, 0x10EAC}, {0x10EFA, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070},
    {0x1133B, 0x1133B}, {0x11380, 0x113FF}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16100, 0x1613F}, {0x16D40, 0x16D7F}, {0x16FF0, 0x16FF1},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
    {0x1E5EE, 0x1E5EF}, {0x1E6E3, 0x1E6F5},
};

bool contains(std::span<const CodePointRange> ranges, char32_t c) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](char32_t value, const CodePointRange& r) { return value < r.low; });
  return after != ranges.begin() && c <= (after - 1)->high;
}

bool is_newer(char32_t c) { return contains(kNewerThanUnicode9, c); }
bool is_composed(NormalForm form) { return form == NormalForm::kNfc || form == NormalForm::kNfkc; }
bool is_compatible(NormalForm form) { return form == NormalForm::kNfkc || form == NormalForm::kNfkd; }
bool is_hangul_syllable(char32_t c) { return c >= 0xAC00 && c <= 0xD7A3; }

// The first character that the form changes.
char32_t first_unstable(NormalForm form) {
  if (form == NormalForm::kNfc) return 0x300;
  return form == NormalForm::kNfd ? 0xC0 : 0xA0;
}

const utf8proc_property_t& property(char32_t c) { return *utf8proc_get_property(static_cast<utf8proc_int32_t>(c)); }

// True where the character neither changes under the form nor combines with what comes before it, so that text can be
// cut in front of it. Errs on the side of false.
bool is_stable(NormalForm form, char32_t c) {
  if (c < first_unstable(form)) return true;
  if (c >= 0x4E00 && c <= 0x9FFF) return true;  // Chinese characters
  if (is_newer(c)) return true;
  if (is_composed(form)) {
    if (form == NormalForm::kNfc && c >= 0x1EA0 && c <= 0x1EF9) return true;  // Vietnamese letters, already composed
    if (c >= 0x1100 && c <= 0x11FF) return false;                             // parts of Korean syllables
  } else if (is_hangul_syllable(c)) {
    return false;
  }
  const utf8proc_property_t& p = property(c);
  if (p.combining_class != 0) return false;
  if (p.category == UTF8PROC_CATEGORY_MC || p.category == UTF8PROC_CATEGORY_MN) return false;
  if (p.decomp_seqindex == UINT16_MAX) return true;
  return p.decomp_type != 0 && !(is_compatible(form) && !contains(newer_compatible_ranges(), c));
}

int combining_class(char32_t c) { return c < 0x300 || is_newer(c) ? 0 : property(c).combining_class; }

// A character on its way, with the step (TextRewrite::step) that puts it into the new text.
struct Item {
  char32_t c = 0;
  int change = 0;
};

// Marks are not in order yet.
void decompose(NormalForm form, char32_t c, std::vector<Item>& out) {
  const bool compatible = is_compatible(form) && !contains(newer_compatible_ranges(), c);
  if (is_newer(c) || c < 0x80) {
    out.push_back({c, 0});
    return;
  }
  utf8proc_int32_t parts[32];
  int boundary = 0;
  const int options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 32,
                                             static_cast<utf8proc_option_t>(options), &boundary);
  for (utf8proc_ssize_t i = 0; i < count && i < 32; ++i) out.push_back({static_cast<char32_t>(parts[i]), i > 0});
}

// Canonical ordering: every run of marks is sorted by its class. A stable sort, because utf8proc's own exchanges
// neighbours, which takes quadratic time on a long run.
void sort_marks(std::vector<Item>& items) {
  const auto is_starter = [](const Item& item) { return combining_class(item.c) == 0; };
  for (auto run = items.begin(); run != items.end();) {
    run = std::find_if_not(run, items.end(), is_starter);
    const auto end = std::find_if(run, items.end(), is_starter);
    std::stable_sort(run, end,
                     [](const Item& a, const Item& b) { return combining_class(a.c) < combining_class(b.c); });
    run = end;
  }
}

// The composition of two characters; 0 where there is none.
char32_t composed(char32_t a, char32_t b) {
  if (is_newer(a) || is_newer(b)) return 0;
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(a), static_cast<utf8proc_int32_t>(b)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  return utf8proc_normalize_utf32(pair, 2, options) == 1 ? static_cast<char32_t>(pair[0]) : 0;
}

// Every starter takes in the marks behind it that it composes with and that no other mark blocks.
std::vector<Item> recompose(const std::vector<Item>& items) {
  std::vector<Item> out;
  size_t starter = SIZE_MAX;  // in `out`
  int last_class = -1;        // of the marks kept since
  for (const Item& item : items) {
    const int mark_class = combining_class(item.c);
    const bool blocked = last_class >= 0 && last_class >= mark_class;
    if (starter != SIZE_MAX && !blocked) {
      if (const char32_t both = composed(out[starter].c, item.c); both != 0) {
        out[starter] = {both, out[starter].change + item.change - 1};
        continue;
      }
    }
    if (mark_class == 0) {
      starter = out.size();
      last_class = -1;
    } else {
      last_class = mark_class;
    }
    out.push_back(item);
  }
  return out;
}

// The form of the text between two stable characters.
void rewrite(NormalForm form, std::string_view piece, TextRewrite& out) {
  std::vector<Item> items;
  for (size_t i = 0; i < piece.size();) {
    const CodePoint c = code_point_at(piece, i);
    decompose(form, c.value, items);
    i += c.size;
  }
  sort_marks(items);
  if (is_composed(form)) items = recompose(items);
  for (const Item& item : items) out.step(item.c, item.change);
}

}  // namespace

bool may_change_under(NormalForm form, std::string_view text) {
  // The lead byte of the first character that changes: U+0300, U+00C0 or U+00A0.
  const unsigned char lead = form == NormalForm::kNfc ? 0xCC : form == NormalForm::kNfd ? 0xC3 : 0xC2;
  return std::any_of(text.begin(), text.end(), [&](char c) { return static_cast<unsigned char>(c) >= lead; });
}

std::string normal_form(NormalForm form, std::string_view text, OffsetMap* map) {
  TextRewrite out(text, map);
  size_t previous = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (is_stable(form, c.value)) {
      previous = i;
      i += c.size;
      continue;
    }
    size_t end = i;
    while (end < text.size()) {
      const CodePoint next = code_point_at(text, end);
      if (is_stable(form, next.value)) break;
      end += next.size;
    }
    // The stable character in front may take a mark in, unless it is itself left alone.
    const bool with_previous = is_composed(form) && i > previous && !is_newer(code_point_at(text, previous).value);
    const size_t begin = with_previous ? previous : i;
    out.keep(begin);
    rewrite(form, text.substr(begin, end - begin), out);
    out.drop(end);
    previous = i = end;
  }
  return out.keep_rest();
}

}  // namespace graft::text
