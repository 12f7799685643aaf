#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

namespace graft::grammar {

// How long a string may be, in characters.
struct StringLength {
  int64_t least = 0;
  std::optional<int64_t> most;
  auto operator<=>(const StringLength&) const = default;
};

// Strings of bounded length, written so that masks stay fast: a rule for each number of characters that may still come,
// which contains the closing quote. (XGrammar's own repetition of a character class leaves the quote to the rule around
// it, so that thousands of tokens have to be tried for each mask: 1.3 ms instead of 15 us with 151,669 ids. It allows
// no escapes and lets control characters through, too.)
//
// A rule costs a scan of the vocabulary when it is compiled, 5 ms for 32,000 ids, so there are bounds: what a grammar
// leaves out of a length is left to the check of the finished output.
class StringRules {
 public:
  // The text of a `const` that stands for such a string in a schema; in the grammar that XGrammar makes of the schema
  // it is a literal, which insert() replaces by a rule. nullopt: the length cannot be part of the grammar.
  std::optional<std::string> placeholder(StringLength length);

  // The grammar with the literals replaced and the rules added. Escapes of halves of surrogate pairs, which XGrammar
  // lets through, are no longer in it.
  [[nodiscard]] std::string insert(std::string ebnf) const;

 private:
  std::set<StringLength> lengths_;
};

// Whether a schema has text that could be taken for a placeholder: it then goes without.
bool mentions_placeholder(const std::string& schema);

}  // namespace graft::grammar
