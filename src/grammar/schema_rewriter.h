#pragma once

#include <map>
#include <string>
#include <vector>

#include "grammar/schema.h"

namespace graft::grammar {

// Makes XGrammar's dialect of a schema: one of $ref, const, enum, anyOf or type with its keywords for each place, every
// default spelled out, and every $ref one to "#/$defs/rN". See schema.h for what is refused.
class SchemaRewriter {
 public:
  // `count_strings`: whether bounded strings may be replaced by placeholders.
  SchemaRewriter(const SchemaJson& root, const GrammarLimits& limits, bool count_strings)
      : root_(root), limits_(limits), count_strings_(count_strings) {}
  Result<SchemaJson> rewrite();
  [[nodiscard]] const StringRules& strings() const { return strings_; }

 private:
  Result<SchemaJson> any(const SchemaJson& schema, const std::string& place, int depth);
  Result<SchemaJson> whole(const SchemaJson& schema, const std::string& place, int depth);
  Result<SchemaJson> reference(const SchemaJson& schema, const std::string& place);
  Result<SchemaJson> all_of(const SchemaJson& schema, const std::string& place, int depth);
  Result<SchemaJson> choice(const SchemaJson& schema, const std::string& keyword, const std::string& place, int depth);
  Result<SchemaJson> values(const SchemaJson& schema, const std::string& place);
  Result<SchemaJson> typed(const SchemaJson& schema, const std::string& place, int depth);
  Result<SchemaJson> of_type(const std::string& type, const SchemaJson& schema, const std::string& place, int depth);
  Status string(const SchemaJson& schema, const std::string& place, SchemaJson& out);
  Status number(const SchemaJson& schema, const std::string& place, SchemaJson& out);
  Status array(const SchemaJson& schema, const std::string& place, int depth, SchemaJson& out);
  Status object(const SchemaJson& schema, const std::string& place, int depth, SchemaJson& out);
  Status properties(const SchemaJson& schema, const std::string& place, int depth, SchemaJson& out);
  Result<SchemaJson> open_schema(const SchemaJson& schema);  // with $ref beside other keywords inlined
  Status count(const SchemaJson& schema, const char* keyword, const std::string& place, SchemaJson& out) const;

  const SchemaJson& root_;
  const GrammarLimits& limits_;
  const bool count_strings_;
  StringRules strings_;
  std::map<std::string, std::string> names_;                // of the definitions, by reference
  std::vector<std::pair<std::string, std::string>> queue_;  // references still to be rewritten, and their names
  size_t nodes_ = 0;
};

}  // namespace graft::grammar
