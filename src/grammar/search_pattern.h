#pragma once

#include <memory>
#include <string_view>

namespace graft::grammar {

// A JSON Schema's `pattern`: whether it is found anywhere in a string. Java's syntax, which covers what ECMA-262 and a
// grammar's expressions share; \w, \d and \s mean their ASCII characters, as in grammars. Immutable; thread-safe.
class SearchPattern {
 public:
  // null: not a regular expression.
  static std::shared_ptr<const SearchPattern> compile(std::string_view pattern);
  ~SearchPattern();

  enum class Outcome { kFound, kMissing, kTooSlow };
  [[nodiscard]] Outcome search(std::string_view text) const;

 private:
  struct Impl;
  explicit SearchPattern(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::grammar
