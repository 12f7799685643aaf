#include "text/stages/word_scanner.h"

#include "text/unicode/code_points.h"

namespace graft::text {
namespace {

constexpr std::string_view kGpt2Source =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Source =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Source =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr char32_t kLongS = 0x17F;  // folds to 's'
constexpr uint8_t kAnyClass = kLetter | kNumber | kSpace;

bool is_line_end(char c) { return c == '\r' || c == '\n'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::string_view pattern_source(KnownPattern pattern) {
  if (pattern == KnownPattern::kGpt2) return kGpt2Source;
  return pattern == KnownPattern::kLlama3 ? kLlama3Source : kQwen2Source;
}

std::optional<KnownPattern> known_pattern(std::string_view source) {
  for (const KnownPattern pattern : {KnownPattern::kGpt2, KnownPattern::kLlama3, KnownPattern::kQwen2}) {
    if (pattern_source(pattern) == source) return pattern;
  }
  return std::nullopt;
}

void WordScanner::split(std::string_view text, const Piece& piece, std::vector<Piece>& out) const {
  const std::string_view within = text.substr(0, piece.end);
  for (size_t i = piece.begin; i < piece.end;) {
    const size_t end = word_end(within, i);
    out.push_back({i, end});
    i = end;
  }
}

size_t WordScanner::word_end(std::string_view text, size_t i) const {
  return pattern_ == KnownPattern::kGpt2 ? gpt2_word_end(text, i) : llama3_word_end(text, i);
}

size_t WordScanner::gpt2_word_end(std::string_view text, size_t i) const {
  if (text[i] == '\'') {
    if (const size_t end = contraction_end(text, i); end > i) return end;
  }
  const size_t word = i + (text[i] == ' ' ? 1 : 0);
  if (word < text.size()) {
    const uint8_t found = classes_.of(code_point_at(text, word).value);
    if ((found & kLetter) != 0) return run_end(text, word, kLetter);
    if ((found & kNumber) != 0) return run_end(text, word, kNumber);
    if ((found & kSpace) == 0) return other_end(text, word);
  }
  return space_end(text, i);
}

size_t WordScanner::llama3_word_end(std::string_view text, size_t i) const {
  if (text[i] == '\'') {
    if (const size_t end = contraction_end(text, i); end > i) return end;
  }
  const CodePoint first = code_point_at(text, i);
  const uint8_t found = classes_.of(first.value);
  if ((found & kLetter) != 0) return run_end(text, i, kLetter);
  if ((found & kNumber) != 0) return number_end(text, i, pattern_ == KnownPattern::kLlama3 ? 3 : 1);
  const size_t next = i + first.size;
  if (!is_line_end(text[i]) && next < text.size() && classes_.is(code_point_at(text, next).value, kLetter)) {
    return run_end(text, next, kLetter);
  }
  const size_t symbol = i + (text[i] == ' ' ? 1 : 0);
  if (symbol < text.size() && !classes_.is(code_point_at(text, symbol).value, kAnyClass)) {
    size_t end = other_end(text, symbol);
    while (end < text.size() && is_line_end(text[end])) ++end;
    return end;
  }
  if (const size_t end = lines_end(text, i); end > i) return end;
  return space_end(text, i);
}

// 's 't 're 've 'm 'll 'd, in lower case for GPT-2.
size_t WordScanner::contraction_end(std::string_view text, size_t i) const {
  const bool any_case = pattern_ != KnownPattern::kGpt2;
  const auto at = [&](size_t k) {
    if (k >= text.size()) return '\0';
    return any_case ? lower(text[k]) : text[k];
  };
  const char first = at(i + 1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return i + 2;
  const char second = at(i + 2);
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) {
    return i + 3;
  }
  if (any_case && i + 1 < text.size() && code_point_at(text, i + 1).value == kLongS) return i + 3;
  return i;
}

size_t WordScanner::run_end(std::string_view text, size_t i, uint8_t char_class) const {
  while (i < text.size()) {
    const CodePoint c = code_point_at(text, i);
    if (!classes_.is(c.value, char_class)) break;
    i += c.size;
  }
  return i;
}

size_t WordScanner::other_end(std::string_view text, size_t i) const {
  while (i < text.size()) {
    const CodePoint c = code_point_at(text, i);
    if (classes_.is(c.value, kAnyClass)) break;
    i += c.size;
  }
  return i;
}

// \s+(?!\S)|\s+: where something follows, the last space is left for it, unless it is the only one.
size_t WordScanner::space_end(std::string_view text, size_t i) const {
  const size_t end = run_end(text, i, kSpace);
  if (end == text.size()) return end;
  const size_t last = end - code_point_before(text, end).size;
  return last > i ? last : end;
}

// \s*[\r\n]+: up to the last line end in the white space.
size_t WordScanner::lines_end(std::string_view text, size_t i) const {
  size_t end = run_end(text, i, kSpace);
  while (end > i && !is_line_end(text[end - 1])) --end;
  return end;
}

size_t WordScanner::number_end(std::string_view text, size_t i, int most) const {
  for (int count = 0; count < most && i < text.size(); ++count) {
    const CodePoint c = code_point_at(text, i);
    if (!classes_.is(c.value, kNumber)) break;
    i += c.size;
  }
  return i;
}

}  // namespace graft::text
