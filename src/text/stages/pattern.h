#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/stages/regex.h"

namespace graft::text {

// What Split and Replace look for: {"String": "plain text"} or {"Regex": "regular expression"}.
class Pattern {
 public:
  static Result<Pattern> from_json(const nlohmann::json* spec, const std::string& path);

  // The regular expression; empty where it is plain text.
  [[nodiscard]] const std::string& source() const { return source_; }
  // The plain text; empty where it is a regular expression.
  [[nodiscard]] const std::string& literal() const { return literal_; }

  // Calls `found(begin, end)` for every match in valid UTF-8, from left to right.
  template <class Found>
  void each_match(std::string_view text, Found found) const {
    if (regex_ == nullptr) {
      for (size_t i = text.find(literal_); i != std::string_view::npos; i = text.find(literal_, i + literal_.size())) {
        found(i, i + literal_.size());
      }
      return;
    }
    Regex::Scan scan(*regex_, text);
    for (RegexMatch match; scan.next(&match);) found(match.begin, match.end);
  }
  // False where there is certainly no match; a quick look.
  [[nodiscard]] bool may_match(std::string_view text) const {
    return regex_ != nullptr || text.find(literal_) != std::string_view::npos;
  }

 private:
  std::string literal_;
  std::string source_;
  std::unique_ptr<Regex> regex_;
};

}  // namespace graft::text
