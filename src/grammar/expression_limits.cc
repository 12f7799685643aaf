#include "grammar/expression_limits.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/strings.h"

namespace graft::grammar {
namespace {

constexpr std::array<std::string_view, 11> kFormats{"date", "time", "date-time", "duration", "email",        "hostname",
                                                    "ipv4", "ipv6", "uuid",      "uri",      "uri-reference"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Reads an expression once, writing it anew; counts how many characters it stands for when repetitions are written out.
class PatternReader {
 public:
  PatternReader(std::string_view pattern, const GrammarLimits& limits) : pattern_(pattern), limits_(limits) {}

  Result<std::string> read() {
    size_t size = 0;
    if (!alternatives(0, size)) return invalid(problem_);
    if (at_ < pattern_.size()) return invalid("`)` without `(`" + where());
    return std::move(out_);
  }

 private:
  bool fail(const std::string& problem) {
    problem_ = problem + where();
    return false;
  }
  [[nodiscard]] std::string where() const {
    return " in the regular expression \"" + printable(pattern_, 80) + "\", at character " + std::to_string(at_ + 1);
  }
  [[nodiscard]] bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  void copy(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  bool alternatives(int depth, size_t& size) {
    if (depth > limits_.depth) return fail("groups are nested too deep");
    while (true) {
      if (depth == 0 && next_is("^")) ++at_;
      if (!sequence(depth, size)) return false;
      if (!next_is("|")) return true;
      copy(1);
    }
  }

  bool sequence(int depth, size_t& size) {
    while (at_ < pattern_.size() && pattern_[at_] != '|' && pattern_[at_] != ')') {
      const bool last = at_ + 1 == pattern_.size() || pattern_[at_ + 1] == '|';
      if (pattern_[at_] == '$' && depth == 0 && last) {
        ++at_;
        return true;
      }
      size_t atom_size = 1;
      if (!atom(depth, atom_size) || !repetition(atom_size)) return false;
      size += atom_size;
      if (size > limits_.repetitions) return fail("repetitions multiply to more than is allowed");
    }
    return true;
  }

  bool atom(int depth, size_t& size) {
    const char c = pattern_[at_];
    if (c == '(') return group(depth, size);
    if (c == '[') return bracket();
    if (c == '\\') return escape();
    if (c == '^' || c == '$') return fail(std::string("`") + c + "` is supported at the ends only,");
    if (c == '*' || c == '+' || c == '?' || c == '{') return fail(std::string("`") + c + "` has nothing to repeat");
    copy(1);
    while (at_ < pattern_.size() && (static_cast<unsigned char>(pattern_[at_]) & 0xC0U) == 0x80U) copy(1);
    return true;
  }

  bool group(int depth, size_t& size) {
    ++at_;
    if (next_is("?")) {
      const bool named = next_is("?<") || next_is("?P<");
      const size_t name_end = pattern_.find('>', at_);
      if (next_is("?:")) {
        at_ += 2;
      } else if (named && !next_is("?<=") && !next_is("?<!") && name_end != std::string_view::npos) {
        at_ = name_end + 1;
      } else {
        return fail("look-around and flags are not supported");
      }
    }
    out_ += '(';
    size = 0;
    if (!alternatives(depth + 1, size)) return false;
    if (!next_is(")")) return fail("`(` without `)`");
    copy(1);
    return true;
  }

  bool bracket() {
    copy(1);
    if (next_is("^")) copy(1);
    if (next_is("]")) return fail("an empty class `[]` is not supported");
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      if (pattern_[at_] == '\\') {
        if (!escape(true)) return false;
      } else if (pattern_[at_] == '[') {
        // XGrammar would read a plain [ here as the beginning of another class.
        out_ += '\\';
        copy(1);
      } else {
        copy(1);
      }
    }
    if (at_ >= pattern_.size()) return fail("`[` without `]`");
    copy(1);
    return true;
  }

  bool escape(bool in_class = false) {
    if (at_ + 1 >= pattern_.size()) return fail("`\\` at the end");
    const char c = pattern_[at_ + 1];
    const std::string_view refused = in_class ? "pPkABZzG" : "bBpPkAZzG";
    if ((is_digit(c) && c != '0') || refused.find(c) != std::string_view::npos) {
      return fail(std::string("`\\") + c + "` is not supported");
    }
    copy(2);
    return true;
  }

  bool repetition(size_t& size) {
    if (at_ >= pattern_.size()) return true;
    const char c = pattern_[at_];
    if (c == '*' || c == '+' || c == '?') {
      copy(1);
    } else if (c == '{') {
      if (!counted(size)) return false;
    } else {
      return true;
    }
    if (next_is("+")) return fail("possessive repetition is not supported");
    if (next_is("?")) ++at_;
    if (next_is("*") || next_is("{") || next_is("+") || next_is("?")) return fail("a repetition of a repetition");
    return true;
  }

  bool counted(size_t& size) {
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) return fail("`{` without `}`");
    const std::string_view inner = pattern_.substr(at_ + 1, end - at_ - 1);
    const std::optional<size_t> most = largest(inner);
    if (!most) return fail("`{` begins no count like {2,5}");
    size *= std::max<size_t>(*most, 1);
    if (size > limits_.repetitions) return fail("repetitions multiply to more than is allowed");
    copy(end + 1 - at_);
    return true;
  }

  // The larger number of "2", "2," or "2,5".
  static std::optional<size_t> largest(std::string_view inner) {
    const bool shaped = !inner.empty() && is_digit(inner.front()) && std::ranges::count(inner, ',') <= 1 &&
                        inner.size() <= 19 &&
                        std::ranges::all_of(inner, [](char c) { return is_digit(c) || c == ','; });
    if (!shaped) return std::nullopt;
    size_t most = 0;
    size_t value = 0;
    for (const char c : inner) {
      value = is_digit(c) ? value * 10 + static_cast<size_t>(c - '0') : 0;
      most = std::max(most, value);
    }
    return most;
  }

  std::string_view pattern_;
  const GrammarLimits& limits_;
  size_t at_ = 0;
  std::string out_;
  std::string problem_;
};

}  // namespace

Result<std::string> whole_match_pattern(std::string_view pattern, const GrammarLimits& limits) {
  return PatternReader(pattern, limits).read();
}

Status check_grammar_text(std::string_view text, const GrammarLimits& limits) {
  int depth = 0;
  char quote = 0;  // within a literal or a class: what ends it
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0) {
      if (c == '\\') ++i;
      if (c == quote || c == '\n') quote = 0;
    } else if (c == '"') {
      quote = '"';
    } else if (c == '[') {
      quote = ']';
    } else if (c == '#') {
      i = std::min(text.find('\n', i), text.size());
    } else if (c == '(') {
      if (++depth > limits.depth) return invalid("the grammar: brackets are nested too deep");
    } else if (c == ')') {
      --depth;
    } else if (c == '{') {
      size_t value = 0;
      for (size_t j = i + 1; j < text.size() && text[j] != '}'; ++j) {
        value = is_digit(text[j]) ? value * 10 + static_cast<size_t>(text[j] - '0') : 0;
        if (value > limits.repetitions) return invalid("the grammar: a repetition of more than is allowed");
      }
    }
  }
  return {};
}

bool is_enforced_format(std::string_view format) { return std::ranges::find(kFormats, format) != kFormats.end(); }

}  // namespace graft::grammar
