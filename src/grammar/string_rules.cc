#include "grammar/string_rules.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace graft::grammar {
namespace {

constexpr int64_t kMostCounted = 256;
constexpr std::string_view kMark = "graft:string:";
// What may follow a backslash. A character beyond U+FFFF is two escapes.
constexpr std::string_view kEscapeRules = R"(graft_hex ::= [0-9A-Fa-f]
graft_unicode ::= ([0-9A-CE-Fa-ce-f] graft_hex) | ([Dd] [0-7])
graft_pair ::= [Dd] [89ABab] graft_hex graft_hex "\\u" [Dd] [C-Fc-f] graft_hex graft_hex
graft_escape ::= ([\"\\/bfnrt]) | ("u" graft_unicode graft_hex graft_hex) | ("u" graft_pair)
)";
// What follows a string in JSON. It lets tokens that go on behind the quote be decided when the grammar is compiled.
constexpr std::string_view kFollowing = R"( (=([ \n\r\t]{0, 24} [,}\]:])))";

std::string suffix(const StringLength& length, char separator) {
  return std::to_string(length.least) + separator + (length.most ? std::to_string(*length.most) : "any");
}

std::string rest_rule(const StringLength& length) { return "graft_rest_" + suffix(length, '_'); }

StringLength after_one(const StringLength& length) {
  StringLength next{std::max<int64_t>(length.least - 1, 0), length.most};
  if (next.most) --*next.most;
  return next;
}

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

// XGrammar prints a character below U+0100 as \xHH, and when it reads that back takes as many hexadecimal digits as
// follow: "\xdfe" is the end of "größe", and one letter of another script. \u has four digits always.
std::string with_safe_escapes(std::string_view ebnf) {
  std::string out;
  out.reserve(ebnf.size());
  for (size_t i = 0; i < ebnf.size(); ++i) {
    out += ebnf[i];
    if (ebnf[i] != '\\' || i + 1 == ebnf.size()) continue;
    const char kind = ebnf[++i];
    if (kind == 'x') {
      out += "u00";
    } else if (kind == '0') {
      out += "u0000";
    } else {
      out += kind;
    }
  }
  return out;
}

// Puts `text` in the place of what the rule's own line says.
void redefine(std::string& ebnf, const std::string& rule, const std::string& text) {
  const std::string head = "\n" + rule + " ::= ";
  const size_t begin = ("\n" + ebnf).find(head);
  if (begin == std::string::npos) return;
  const size_t from = begin + head.size() - 1;
  ebnf.replace(from, std::min(ebnf.find('\n', from), ebnf.size()) - from, text);
}

// rest ::= the quote, where the string may end, or one more character.
std::string rest_definition(const StringLength& length) {
  std::vector<std::string> options;
  if (length.least == 0) options.emplace_back(R"(("\""))");
  if (length.most != 0) {
    const std::string next = rest_rule(after_one(length));
    options.push_back(R"(([^\"\\\0-\x1f] )" + next + ")");
    options.push_back(R"(("\\" graft_escape )" + next + ")");
  }
  std::string text = rest_rule(length) + " ::= (";
  for (size_t i = 0; i < options.size(); ++i) text += (i > 0 ? " | " : "") + options[i];
  return text + ")" + std::string(kFollowing) + "\n";
}

}  // namespace

std::optional<std::string> StringRules::placeholder(StringLength length) {
  length.least = std::clamp<int64_t>(length.least, 0, kMostCounted);
  if (length.most && *length.most > kMostCounted) length.most.reset();
  if (length.least == 0 && !length.most) return std::nullopt;
  lengths_.insert(length);
  return std::string(kMark) + suffix(length, ':');
}

std::string StringRules::insert(std::string ebnf) const {
  std::set<StringLength> rests;
  ebnf = with_safe_escapes(ebnf);
  redefine(ebnf, "basic_escape", "graft_escape");
  // 1e999 is JSON, but no number that a program can hold.
  replace_all(ebnf, "[eE] basic_number_4 basic_number_digits{1, -1}", "[eE] basic_number_4 basic_number_digits{1, 2}");
  std::string rules(kEscapeRules);
  for (const StringLength& length : lengths_) {
    const std::string name = "graft_string_" + suffix(length, '_');
    replace_all(ebnf, "\"\\\"" + std::string(kMark) + suffix(length, ':') + "\\\"\"", name);
    rules += name + " ::= \"\\\"\" " + rest_rule(length) + "\n";
    StringLength rest = length;
    while (rests.insert(rest).second) {
      rules += rest_definition(rest);
      if (rest.most == 0) break;
      rest = after_one(rest);
    }
  }
  return ebnf + "\n" + rules;
}

bool mentions_placeholder(const std::string& schema) { return schema.find(kMark) != std::string::npos; }

}  // namespace graft::grammar
