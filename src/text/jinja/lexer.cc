#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/strings.h"
#include "text/jinja/failure.h"
#include "text/jinja/python_text.h"
#include "text/unicode/char_class.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

// Longest first.
constexpr std::array<std::string_view, 25> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                         "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                         ">",  "<",  "=",  ".",  ":",  "|",  ","};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char32_t c) { return c == '_' || CharClasses::get().is(c, kLetter); }
bool is_name_part(char32_t c) { return c == '_' || CharClasses::get().is(c, kWordChar); }

// All line ends become \n, and the last one is dropped.
std::string with_unix_lines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

size_t skip_space(std::string_view text, size_t i) {
  while (i < text.size()) {
    const CodePoint c = code_point_at(text, i);
    if (!is_python_space(c.value)) break;
    i += c.size;
  }
  return i;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(with_unix_lines(source)) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) outside();
    add(Token::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] std::string_view rest() const { return std::string_view(text_).substr(at_); }
  [[nodiscard]] char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void add(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void advance(size_t to) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  // Text up to the next tag, then that tag.
  void outside() {
    size_t tag = at_;
    while (true) {
      tag = text_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= text_.size()) return data(text_.size());
      const char kind = text_[tag + 1];
      if (kind == '{' || kind == '%' || kind == '#') break;
      ++tag;
    }
    const char kind = text_[tag + 1];
    const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
    data_before_tag(tag, kind, sign);
    advance(tag + 2 + (sign == '-' || sign == '+' ? 1 : 0));
    if (kind == '#') {
      comment();
    } else if (kind == '%' && is_raw_tag()) {
      raw();
    } else {
      add(kind == '%' ? Token::kBlockBegin : Token::kVariableBegin, "");
      inside(kind == '%');
    }
  }

  void data(size_t end) {
    if (end > at_) add(Token::kData, text_.substr(at_, end - at_));
    advance(end);
  }

  void data_before_tag(size_t tag, char kind, char sign) {
    std::string_view before = std::string_view(text_).substr(at_, tag - at_);
    if (sign == '-') {
      size_t end = before.size();
      while (end > 0 && is_python_space(code_point_before(before, end).value))
        end -= code_point_before(before, end).size;
      before = before.substr(0, end);
    } else if (sign != '+' && kind != '{') {
      // lstrip_blocks: white space between the start of the line and a block goes.
      const size_t newline = before.rfind('\n');
      const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
      const bool starts_line = line_start > 0 || at_line_start_;
      if (starts_line && skip_space(before, line_start) == before.size()) before = before.substr(0, line_start);
    }
    if (!before.empty()) add(Token::kData, std::string(before));
    advance(tag);
  }

  // Behind "%}" or "#}": trim_blocks drops one line end, "-" all white space, "+" nothing.
  void tag_end(char sign, bool trims) {
    size_t end = at_ + (sign == '-' || sign == '+' ? 3 : 2);
    if (sign == '-') {
      end = skip_space(text_, end);
    } else if (sign != '+' && trims && end < text_.size() && text_[end] == '\n') {
      ++end;
    }
    at_line_start_ = text_[end - 1] == '\n';
    advance(end);
  }

  void comment() {
    const int line = line_;
    const size_t end = text_.find("#}", at_);
    if (end == std::string::npos) fail("a comment is not closed: missing '#}'", line);
    const bool has_sign = end > at_ && (text_[end - 1] == '-' || text_[end - 1] == '+');
    advance(has_sign ? end - 1 : end);
    tag_end(has_sign ? peek() : '\0', true);
  }

  // At "raw %}", behind "{%".
  [[nodiscard]] bool is_raw_tag() const {
    const size_t name = skip_space(text_, at_);
    if (text_.compare(name, 3, "raw") != 0) return false;
    const size_t end = skip_space(text_, name + 3);
    return text_.compare(end, 2, "%}") == 0 || text_.compare(end, 3, "-%}") == 0;
  }

  void raw() {
    const int line = line_;
    advance(text_.find("%}", at_) + 2);
    if (text_[at_ - 3] == '-') advance(skip_space(text_, at_));
    at_line_start_ = text_[at_ - 1] == '\n';
    for (size_t tag = text_.find("{%", at_); tag != std::string::npos; tag = text_.find("{%", tag + 2)) {
      const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
      const size_t name = skip_space(text_, tag + 2 + (sign == '-' || sign == '+' ? 1 : 0));
      if (text_.compare(name, 6, "endraw") != 0) continue;
      const size_t end = skip_space(text_, name + 6);
      const char end_sign = end < text_.size() && (text_[end] == '-' || text_[end] == '+') ? text_[end] : '\0';
      if (text_.compare(end + (end_sign != '\0' ? 1 : 0), 2, "%}") != 0) continue;
      data_before_tag(tag, '%', sign);
      advance(end);
      tag_end(end_sign, true);
      return;
    }
    fail("'raw' is not closed: missing '{% endraw %}'", line);
  }

  // The expression part of a tag.
  void inside(bool is_block) {
    const int line = line_;
    std::string open;  // brackets; the tag cannot end inside of them
    const char closer = is_block ? '%' : '}';
    while (true) {
      advance(skip_space(text_, at_));
      if (at_ >= text_.size())
        fail(is_block ? "a tag is not closed: missing '%}'" : "a tag is not closed: missing '}}'", line);
      if (open.empty()) {
        const bool has_sign = peek() == '-' || (is_block && peek() == '+');
        if (peek(has_sign ? 1 : 0) == closer && peek(has_sign ? 2 : 1) == '}') {
          add(is_block ? Token::kBlockEnd : Token::kVariableEnd, "");
          return tag_end(has_sign ? peek() : '\0', is_block);
        }
      }
      token(open);
    }
  }

  void token(std::string& open) {
    const char c = peek();
    if (c == '\'' || c == '"') return string(c);
    if (is_digit(c)) return number();
    if (is_name_start(code_point_at(text_, at_).value)) return name();
    for (const std::string_view op : kOperators) {
      if (!rest().starts_with(op)) continue;
      balance(op, open);
      add(Token::kOperator, std::string(op));
      return advance(at_ + op.size());
    }
    fail("unexpected character '" + printable(rest().substr(0, code_point_at(text_, at_).size)) + "'", line_);
  }

  void balance(std::string_view op, std::string& open) const {
    if (op == "(" || op == "[" || op == "{") open += op == "(" ? ')' : op == "[" ? ']' : '}';
    if (op != ")" && op != "]" && op != "}") return;
    if (open.empty() || open.back() != op[0]) fail("unexpected '" + std::string(op) + "'", line_);
    open.pop_back();
  }

  void name() {
    size_t end = at_;
    while (end < text_.size()) {
      const CodePoint c = code_point_at(text_, end);
      if (!is_name_part(c.value)) break;
      end += c.size;
    }
    add(Token::kName, text_.substr(at_, end - at_));
    advance(end);
  }

  [[nodiscard]] size_t digits_end(size_t i) const {
    while (i < text_.size() &&
           (is_digit(text_[i]) || (text_[i] == '_' && i + 1 < text_.size() && is_digit(text_[i + 1])))) {
      ++i;
    }
    return i;
  }

  void number() {
    const char base = static_cast<char>(std::tolower(static_cast<unsigned char>(peek(1))));
    if (peek() == '0' && (base == 'x' || base == 'o' || base == 'b')) return based_number();
    size_t end = digits_end(at_);
    bool is_float = false;
    // After a dot, "1.2" would be two subscripts: x.1.2
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (!after_dot && end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
      end = digits_end(end + 1);
      is_float = true;
    }
    if (!after_dot && end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const size_t sign = end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-') ? 1 : 0;
      if (end + 1 + sign < text_.size() && is_digit(text_[end + 1 + sign])) {
        end = digits_end(end + 1 + sign);
        is_float = true;
      }
    }
    add_number(is_float ? Token::kFloat : Token::kInteger, end);
  }

  void based_number() {
    size_t end = at_ + 2;
    while (end < text_.size() && (std::isxdigit(static_cast<unsigned char>(text_[end])) != 0 || text_[end] == '_'))
      ++end;
    add_number(Token::kInteger, end);
  }

  void add_number(Token::Kind kind, size_t end) {
    std::string digits = text_.substr(at_, end - at_);
    std::erase(digits, '_');
    add(kind, std::move(digits));
    advance(end);
  }

  void string(char quote) {
    const int line = line_;
    size_t i = at_ + 1;
    while (i < text_.size() && text_[i] != quote) i += text_[i] == '\\' ? 2 : 1;
    if (i >= text_.size()) fail("a string is not closed", line);
    add(Token::kString, unescape(std::string_view(text_).substr(at_ + 1, i - at_ - 1)));
    advance(i + 1);
  }

  [[nodiscard]] std::string unescape(std::string_view raw) const;
  size_t append_escape(std::string_view raw, size_t i, std::string& out) const;
  size_t append_code(std::string_view raw, size_t i, size_t digits, std::string& out) const;

  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // the last tag ended a line
  std::vector<Token> tokens_;
};

std::string Lexer::unescape(std::string_view raw) const {
  std::string value;
  for (size_t i = 0; i < raw.size();) {
    if (raw[i] != '\\') {
      value += raw[i++];
    } else {
      i = append_escape(raw, i + 1, value);
    }
  }
  return value;
}

// Python's escapes; `i` is behind the backslash. An unknown one stays as it is.
size_t Lexer::append_escape(std::string_view raw, size_t i, std::string& out) const {
  static constexpr std::string_view kFrom = "\\'\"abfnrtv";
  static constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
  const char c = raw[i];
  if (c == '\n') return i + 1;
  if (const size_t simple = kFrom.find(c); simple != std::string_view::npos) {
    out += kTo[simple];
    return i + 1;
  }
  if (c == 'x') return append_code(raw, i + 1, 2, out);
  if (c == 'u') return append_code(raw, i + 1, 4, out);
  if (c == 'U') return append_code(raw, i + 1, 8, out);
  if (c == 'N') fail("the escape \\N is not supported", line_);
  if (c >= '0' && c <= '7') {
    char32_t value = 0;
    size_t end = i;
    while (end < raw.size() && end < i + 3 && raw[end] >= '0' && raw[end] <= '7') {
      value = value * 8 + static_cast<char32_t>(raw[end++] - '0');
    }
    append_utf8(out, value);
    return end;
  }
  out += '\\';
  return i;
}

size_t Lexer::append_code(std::string_view raw, size_t i, size_t digits, std::string& out) const {
  char32_t value = 0;
  for (size_t k = 0; k < digits; ++k) {
    const char c = i + k < raw.size() ? raw[i + k] : '\0';
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) fail("a malformed escape in a string", line_);
    value = value * 16 + static_cast<char32_t>(is_digit(c) ? c - '0' : (std::tolower(c) - 'a' + 10));
  }
  if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) fail("an escape that is no character", line_);
  append_utf8(out, value);
  return i + digits;
}

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

std::string shown(const Token& token) {
  switch (token.kind) {
    case Token::kEnd:
      return "end of the template";
    case Token::kData:
      return "text";
    case Token::kBlockBegin:
      return "'{%'";
    case Token::kBlockEnd:
      return "'%}'";
    case Token::kVariableBegin:
      return "'{{'";
    case Token::kVariableEnd:
      return "'}}'";
    case Token::kString:
      return "a string";
    default:
      return "'" + printable(token.text, 60) + "'";
  }
}

}  // namespace graft::text::jinja
