#include "recipe/text_metrics.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "recipe/scoring.h"
#include "text/unicode/char_class.h"
#include "text/unicode/letter_case.h"

namespace graft::recipe {
namespace {

using Tokens = std::vector<std::string>;

// Bytes that are no UTF-8 stand for themselves, one by one.
std::u32string lower_code_points(std::string_view text) {
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_sequence_length(text, i);
    const auto lead = static_cast<unsigned char>(text[i]);
    char32_t c = lead;
    if (length > 1) {
      c = lead & (0xFFU >> (length + 1));
      for (size_t k = 1; k < length; ++k) c = c << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
    }
    const text::LowerCase lower = text::lower_case(c);
    result += lower.first;
    if (lower.second != 0) result += lower.second;
    i += std::max<size_t>(length, 1);
  }
  return result;
}

bool is_space(char32_t c) { return (c >= 0x1C && c <= 0x1F) || text::CharClasses::get().is(c, text::kSpace); }

bool is_word(char32_t c) { return c == '_' || text::CharClasses::get().is(c, text::kLetter | text::kNumber); }

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// Each article that stands alone becomes a space.
std::u32string without_articles(const std::u32string& text) {
  std::u32string result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && is_word(text[end])) ++end;
    const std::u32string word = text.substr(i, end - i);
    result += word == U"a" || word == U"an" || word == U"the" ? U" " : word;
    if (end < text.size()) result += text[end++];
    i = end;
  }
  return result;
}

Tokens squad_tokens(std::string_view text) {
  std::u32string letters = lower_code_points(text);
  std::erase_if(letters, is_ascii_punctuation);
  Tokens tokens;
  bool inside = false;
  for (const char32_t c : without_articles(letters)) {
    const bool space = is_space(c);
    if (!space && !inside) tokens.emplace_back();
    if (!space) append_utf8(tokens.back(), c);
    inside = !space;
  }
  return tokens;
}

Tokens rouge_tokens(std::string_view text) {
  Tokens tokens;
  bool inside = false;
  for (const char32_t c : lower_code_points(text)) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (kept && !inside) tokens.emplace_back();
    if (kept) tokens.back() += static_cast<char>(c);
    inside = kept;
  }
  return tokens;
}

size_t longest_common_subsequence(const Tokens& x, const Tokens& y) {
  std::vector<size_t> row(y.size() + 1);
  for (const std::string& one : x) {
    size_t diagonal = 0;
    for (size_t j = 0; j < y.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = one == y[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return row.back();
}

double f_measure(size_t common, size_t reference, size_t answer) {
  if (common == 0) return 0;
  const double precision = static_cast<double>(common) / static_cast<double>(answer);
  const double recall = static_cast<double>(common) / static_cast<double>(reference);
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

double exact_match(std::string_view reference, std::string_view answer) {
  return normalise_answer(reference) == normalise_answer(answer) ? 1 : 0;
}

double token_f1(std::string_view reference, std::string_view answer) {
  const Tokens right = squad_tokens(reference);
  const Tokens given = squad_tokens(answer);
  if (right.empty() || given.empty()) return right == given ? 1 : 0;
  std::map<std::string_view, int64_t> counts;
  for (const std::string& token : right) ++counts[token];
  size_t common = 0;
  for (const std::string& token : given) common += counts[token]-- > 0 ? 1 : 0;
  return f_measure(common, right.size(), given.size());
}

double rouge_l(std::string_view reference, std::string_view answer) {
  const Tokens right = rouge_tokens(reference);
  const Tokens given = rouge_tokens(answer);
  return f_measure(longest_common_subsequence(right, given), right.size(), given.size());
}

double json_validity(std::string_view /*reference*/, std::string_view answer) {
  return parse_json(answer).ok() ? 1 : 0;
}

std::span<const std::string> text_metric_names() {
  static const std::vector<std::string> names = {"exact_match", "token_f1", "rouge_l", "json_validity"};
  return names;
}

TextMetric text_metric(std::string_view name) {
  if (name == "exact_match") return exact_match;
  if (name == "token_f1") return token_f1;
  if (name == "rouge_l") return rouge_l;
  return name == "json_validity" ? json_validity : nullptr;
}

}  // namespace graft::recipe
