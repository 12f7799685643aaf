#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace graft::recipe {

// A prompt with {column} where a column's text belongs, written like a format string of Python's: {{ and }} stand for
// braces. Conversions and format specifications ({a!r}, {a:>8}) are refused.
class PromptTemplate {
 public:
  static Result<PromptTemplate> parse(std::string_view text);
  static PromptTemplate column(std::string name);  // that column and nothing else

  [[nodiscard]] const std::vector<std::string>& columns() const { return columns_; }  // each once
  // `value_of` gives a column's text.
  [[nodiscard]] Result<std::string> fill(
      const std::function<Result<std::string>(const std::string& column)>& value_of) const;

 private:
  struct Piece {
    std::string text;  // literal, or the name of a column
    bool is_column = false;
  };
  std::vector<Piece> pieces_;
  std::vector<std::string> columns_;
};

}  // namespace graft::recipe
