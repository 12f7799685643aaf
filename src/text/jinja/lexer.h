#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft::text::jinja {

struct Token {
  enum Kind {
    kData,           // text between tags
    kBlockBegin,     // {%
    kBlockEnd,       // %}
    kVariableBegin,  // {{
    kVariableEnd,    // }}
    kName,
    kString,   // `text` holds the value, escapes undone
    kInteger,  // `text` holds decimal digits, or 0x.., 0o.., 0b..
    kFloat,
    kOperator,
    kEnd,
  };
  Kind kind = kEnd;
  std::string text;
  int line = 1;

  [[nodiscard]] bool is(Kind wanted, std::string_view wanted_text) const {
    return kind == wanted && text == wanted_text;
  }
  [[nodiscard]] bool is_operator(std::string_view wanted) const { return is(kOperator, wanted); }
  [[nodiscard]] bool is_name(std::string_view wanted) const { return is(kName, wanted); }
};

// Splits a template as Jinja does with trim_blocks and lstrip_blocks. The last token is kEnd. Throws Failure.
// `source` is valid UTF-8.
std::vector<Token> tokenize(std::string_view source);

// For messages: "'endfor'", "end of the template".
std::string shown(const Token& token);

}  // namespace graft::text::jinja
