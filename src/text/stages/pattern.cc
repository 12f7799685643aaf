#include "text/stages/pattern.h"

#include "text/stages/json_fields.h"

namespace graft::text {

Result<Pattern> Pattern::from_json(const nlohmann::json* spec, const std::string& path) {
  if (spec == nullptr) return invalid(path + ": missing; expected a pattern");
  Pattern pattern;
  GRAFT_TRY(JsonFields fields, JsonFields::of(*spec, path));
  GRAFT_TRY(const auto literal, fields.optional_string("String"));
  GRAFT_TRY(const auto regex, fields.optional_string("Regex"));
  GRAFT_CHECK_OK(fields.done());
  if (literal.has_value() == regex.has_value()) return invalid(path + ": expected one of String and Regex");
  if (literal.has_value()) {
    if (literal->empty()) return invalid(path + ".String: cannot be empty");
    pattern.literal_ = *literal;
    return pattern;
  }
  auto compiled = Regex::compile(*regex);
  if (!compiled.ok()) return at(path + ".Regex", compiled.error());
  pattern.regex_ = std::move(compiled).value();
  pattern.source_ = *regex;
  return pattern;
}

}  // namespace graft::text
