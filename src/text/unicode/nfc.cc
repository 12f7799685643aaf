#include "text/unicode/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "text/unicode/code_points.h"
#include "text/unicode/tables.h"

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

bool is_newer(char32_t c) {
  const auto* range = std::upper_bound(std::begin(kNewerThanUnicode9), std::end(kNewerThanUnicode9), c,
                                       [](char32_t value, const CodePointRange& r) { return value < r.low; });
  return range != std::begin(kNewerThanUnicode9) && c <= (range - 1)->high;
}

const utf8proc_property_t& property(char32_t c) { return *utf8proc_get_property(static_cast<utf8proc_int32_t>(c)); }

// True where the character neither changes under NFC nor combines with what comes before it, so that text can be cut
// in front of it. Errs on the side of false.
bool is_stable(char32_t c) {
  if (c < 0x300) return true;
  if (c >= 0x4E00 && c <= 0x9FFF) return true;   // Chinese characters
  if (c >= 0x1EA0 && c <= 0x1EF9) return true;   // Vietnamese letters, already composed
  if (c >= 0x1100 && c <= 0x11FF) return false;  // parts of Korean syllables
  if (is_newer(c)) return true;
  const utf8proc_property_t& p = property(c);
  if (p.combining_class != 0) return false;
  if (p.category == UTF8PROC_CATEGORY_MC || p.category == UTF8PROC_CATEGORY_MN) return false;
  return p.decomp_seqindex == UINT16_MAX || p.decomp_type != 0;
}

// Canonical decomposition, appended; marks are not in order yet.
void decompose(char32_t c, std::vector<utf8proc_int32_t>& out) {
  if (is_newer(c)) {
    out.push_back(static_cast<utf8proc_int32_t>(c));
    return;
  }
  utf8proc_int32_t parts[8];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8, UTF8PROC_DECOMPOSE, &boundary);
  for (utf8proc_ssize_t i = 0; i < count && i < 8; ++i) out.push_back(parts[i]);
}

int combining_class(utf8proc_int32_t c) {
  const auto value = static_cast<char32_t>(c);
  return value < 0x300 || is_newer(value) ? 0 : property(value).combining_class;
}

// Canonical ordering: every run of marks is sorted by its class. A stable sort, because utf8proc's own exchanges
// neighbours, which takes quadratic time on a long run.
void sort_marks(std::vector<utf8proc_int32_t>& text) {
  const auto is_starter = [](utf8proc_int32_t c) { return combining_class(c) == 0; };
  for (auto run = text.begin(); run != text.end();) {
    run = std::find_if_not(run, text.end(), is_starter);
    const auto end = std::find_if(run, text.end(), is_starter);
    std::stable_sort(run, end, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    run = end;
  }
}

// NFC of one piece between two stable characters. utf8proc must not see the newer marks, which it would combine.
void append_composed(std::string_view piece, std::string& out) {
  std::vector<utf8proc_int32_t> points;
  for (size_t i = 0; i < piece.size();) {
    const CodePoint c = code_point_at(piece, i);
    decompose(c.value, points);
    i += c.size;
  }
  sort_marks(points);
  const auto size = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                             static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  for (utf8proc_ssize_t i = 0; i < size; ++i) append_utf8(out, static_cast<char32_t>(points[static_cast<size_t>(i)]));
}

}  // namespace

bool may_change_under_nfc(std::string_view text) {
  // Below U+0300, where the lead byte is under 0xCC, nothing changes.
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xCC; });
}

std::string nfc(std::string_view text, OffsetMap* map) {
  std::string out;
  out.reserve(text.size());
  size_t copied = 0;  // text before this is in `out`
  size_t previous = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (is_stable(c.value)) {
      previous = i;
      i += c.size;
      continue;
    }
    size_t end = i;
    while (end < text.size()) {
      const CodePoint next = code_point_at(text, end);
      if (is_stable(next.value)) break;
      end += next.size;
    }
    // The stable character in front may take a mark in, unless it is itself left alone.
    const size_t begin = i > previous && !is_newer(code_point_at(text, previous).value) ? previous : i;
    out += text.substr(copied, begin - copied);
    const size_t out_begin = out.size();
    append_composed(text.substr(begin, end - begin), out);
    if (map != nullptr && std::string_view(out).substr(out_begin) != text.substr(begin, end - begin)) {
      map->replaced(out_begin, out.size(), begin, end);
    }
    copied = previous = i = end;
  }
  out += text.substr(copied);
  return out;
}

}  // namespace graft::text
