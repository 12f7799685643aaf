// The filter wordwrap: the lines that Python's textwrap makes, whose rules these are.

#include <algorithm>

#include "text/jinja/failure.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"
#include "text/jinja/text_operations.h"
#include "text/jinja/text_predicates.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

// [begin, end) of the line's characters.
struct Chunk {
  size_t begin = 0;
  size_t end = 0;
  [[nodiscard]] size_t size() const { return end - begin; }
};

enum Kind : uint8_t { kBlank = 1, kWord = 2, kLetter = 4, kBeforeDash = 8, kDash = 16, kStripped = 32 };

uint8_t kind_of(char32_t c) {
  std::string one;
  append_utf8(one, c);
  uint8_t kind = 0;
  const bool is_word = c == '_' || is_alnum_text(one);
  if (c == ' ' || (c >= '\t' && c <= '\r')) kind |= kBlank;
  if (is_word) kind |= kWord;
  if (is_word && !is_decimal_text(one)) kind |= kLetter;
  if (is_word || (c < 0x80 && std::string_view("!\"'&.,?").find(static_cast<char>(c)) != std::string_view::npos)) {
    kind |= kBeforeDash;
  }
  if (c == '-') kind |= kDash;
  if (is_python_space(c)) kind |= kStripped;
  return kind;
}

class Line {
 public:
  explicit Line(const MarkedText& text) : text_(text) {
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text.bytes(), i);
      starts_.push_back(i);
      kinds_.push_back(kind_of(c.value));
      i += c.size;
    }
    starts_.push_back(text.size());
    dashes_.assign(kinds_.size() + 1, 0);
    for (size_t i = kinds_.size(); i-- > 0;) dashes_[i] = is(i, kDash) ? dashes_[i + 1] + 1 : 0;
  }

  [[nodiscard]] size_t size() const { return kinds_.size(); }
  [[nodiscard]] bool is(size_t i, uint8_t any_of) const { return i < kinds_.size() && (kinds_[i] & any_of) != 0; }
  [[nodiscard]] MarkedText slice(const Chunk& chunk) const {
    return text_.slice(starts_[chunk.begin], starts_[chunk.end]);
  }
  [[nodiscard]] bool is_blank(const Chunk& chunk) const {
    return std::all_of(kinds_.begin() + static_cast<ptrdiff_t>(chunk.begin),
                       kinds_.begin() + static_cast<ptrdiff_t>(chunk.end),
                       [](uint8_t kind) { return (kind & kStripped) != 0; });
  }

  // Where lines may be broken: around white space and, with `hyphens`, behind hyphens and around dashes.
  [[nodiscard]] std::vector<Chunk> chunks(bool hyphens) const {
    std::vector<Chunk> found;
    for (size_t i = 0; i < size();) {
      size_t end = i + 1;
      if (is(i, kBlank)) {
        while (is(end, kBlank)) ++end;
      } else if (hyphens && is_dash(i)) {
        end = i + dashes_[i];
      } else {
        while (end < size() && !is(end, kBlank) && !(hyphens && is_dash(end)) && !(hyphens && is_hyphen(end))) ++end;
        if (hyphens && end < size() && !is(end, kBlank) && !is_dash(end)) ++end;  // the hyphen stays with its word
      }
      found.push_back({i, end});
      i = end;
    }
    return found;
  }

  // Where to cut a chunk that is too long, so that at most `room` characters stay.
  [[nodiscard]] size_t cut(const Chunk& chunk, size_t room, bool hyphens) const {
    const size_t end = chunk.begin + std::min(room, chunk.size());
    if (!hyphens || chunk.size() <= room) return end;
    size_t hyphen = end;
    while (hyphen > chunk.begin && !is(hyphen - 1, kDash)) --hyphen;
    if (hyphen <= chunk.begin + 1) return end;
    for (size_t i = chunk.begin; i + 1 < hyphen; ++i) {
      if (!is(i, kDash)) return hyphen;
    }
    return end;
  }

 private:
  // Two hyphens or more between words.
  [[nodiscard]] bool is_dash(size_t i) const {
    return i > 0 && is(i - 1, kBeforeDash) && dashes_[i] >= 2 && is(i + dashes_[i], kWord);
  }
  // In a word, with two letters on either side, which may have a hyphen between them.
  [[nodiscard]] bool is_hyphen(size_t i) const {
    if (!is(i, kDash)) return false;
    const bool before =
        i >= 2 && is(i - 1, kLetter) && (is(i - 2, kLetter) || (i >= 3 && is(i - 2, kDash) && is(i - 3, kLetter)));
    return before && is(i + 1, kLetter) && (is(i + 2, kLetter) || (is(i + 2, kDash) && is(i + 3, kLetter)));
  }

  const MarkedText& text_;
  std::vector<size_t> starts_;  // bytes
  std::vector<uint8_t> kinds_;
  std::vector<size_t> dashes_;  // how many hyphens begin there
};

struct Wrapping {
  size_t width = 79;
  bool break_words = true;
  bool split_at_hyphens = true;
  bool cut_at_hyphens = true;
};

std::vector<MarkedText> wrapped(const Line& line, const Wrapping& how) {
  std::vector<MarkedText> lines;
  std::vector<Chunk> chunks = line.chunks(how.split_at_hyphens);
  for (size_t next = 0; next < chunks.size();) {
    if (!lines.empty() && line.is_blank(chunks[next])) ++next;
    std::vector<Chunk> current;
    size_t length = 0;
    for (; next < chunks.size() && length + chunks[next].size() <= how.width; ++next) {
      current.push_back(chunks[next]);
      length += chunks[next].size();
    }
    if (next < chunks.size() && chunks[next].size() > how.width) {
      if (how.break_words) {
        const size_t end = line.cut(chunks[next], how.width - length, how.cut_at_hyphens);
        current.push_back({chunks[next].begin, end});
        chunks[next].begin = end;
      } else if (current.empty()) {
        current.push_back(chunks[next++]);
      }
    }
    if (!current.empty() && line.is_blank(current.back())) current.pop_back();
    if (!current.empty()) lines.push_back(line.slice({current.front().begin, current.back().end}));
  }
  return lines;
}

}  // namespace

Value wordwrap_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  const MarkedText* text = input.as_text();
  if (text == nullptr) fail("wordwrap(): expected a string, found " + quoted(input.type_name()));
  const int64_t width = arguments.integer(0, "width", 79);
  const Value* between = arguments.get(2, "wrapstring");
  const MarkedText wrap = between == nullptr || between->is_none() ? MarkedText("\n") : to_text(*between);
  const Value* hyphens = arguments.get(3, "break_on_hyphens");
  Wrapping how;
  how.break_words = arguments.flag(1, "break_long_words", true);
  how.cut_at_hyphens = arguments.flag(3, "break_on_hyphens", true);
  how.split_at_hyphens = hyphens == nullptr || (hyphens->as_bool() != nullptr && *hyphens->as_bool());
  MarkedText result;
  bool first = true;
  for (const Value& line : split_lines(*text, false)) {
    if (width <= 0) fail("invalid width " + std::to_string(width) + " (must be > 0)");
    how.width = static_cast<size_t>(width);
    if (!first) result.append(wrap);
    first = false;
    const std::vector<MarkedText> parts = wrapped(Line(*line.as_text()), how);
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) result.append(wrap);
      result.append(parts[i]);
      evaluator.budget.step();
    }
    if (result.size() > kLargestString) evaluator.budget.made(result.size());
  }
  return evaluator.text(std::move(result));
}

}  // namespace graft::text::jinja
