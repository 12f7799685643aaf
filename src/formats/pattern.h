#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace graft::formats {

// A regular expression of Python's `re`, from a file that may be hostile: matching is bounded in steps.
class Pattern {
 public:
  static Result<Pattern> compile(const std::string& expression);
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // re.fullmatch. An error where the expression needs too many steps on this text.
  [[nodiscard]] Result<bool> full_match(std::string_view text) const;

 private:
  struct Impl;
  explicit Pattern(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::formats
