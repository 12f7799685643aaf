#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace graft::text {

struct RegexMatch {
  size_t begin = 0;
  size_t end = 0;
};

// A regular expression in Oniguruma's syntax over UTF-8, the engine that `tokenizers` uses. Classes such as \p{L} hold
// what they hold in that package, also where the installed Oniguruma knows an older Unicode. Immutable; thread-safe.
class Regex {
 public:
  static Result<std::unique_ptr<Regex>> compile(std::string_view pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Finds one match after another. An empty match right behind a match is skipped, as in `tokenizers`. A search that
  // backtracks beyond a fixed bound counts as finding nothing more.
  class Scan {
   public:
    Scan(const Regex& regex, std::string_view text);
    ~Scan();
    Scan(const Scan&) = delete;
    Scan& operator=(const Scan&) = delete;
    bool next(RegexMatch* match);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The pattern with every \p{..}, \P{..}, \w, \W, \d and \D that would miss characters of newer Unicode spelled out.
std::string with_newer_unicode(std::string_view pattern);

}  // namespace graft::text
