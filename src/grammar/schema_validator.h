#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/schema.h"
#include "grammar/search_pattern.h"

namespace graft::grammar {

// Checks values against a schema, keyword by keyword as JSON Schema's draft 2020-12 defines it (with the older
// spellings of items and of exclusive bounds), for the keywords that schema.h accepts. `format` is not checked, as the
// draft has it. Immutable; thread-safe.
class SchemaValidator {
 public:
  explicit SchemaValidator(SchemaJson root);

  // Whether `text` is JSON that the schema accepts. The error says where in the value and which keyword:
  // "at /items/2: `minimum`".
  [[nodiscard]] Status validate_text(std::string_view text) const;
  // `schema`: a part of the root, or one made of its parts.
  [[nodiscard]] Status validate(const SchemaJson& value, const SchemaJson& schema, const std::string& place) const;

 private:
  class Run;
  void collect_patterns(const SchemaJson& schema);

  std::shared_ptr<const SchemaJson> root_;
  std::map<std::string, std::shared_ptr<const SearchPattern>> patterns_;
};

// Equal as JSON values: the order of an object's keys does not matter, and 1 is 1.0.
bool equal_values(const SchemaJson& a, const SchemaJson& b);

}  // namespace graft::grammar
