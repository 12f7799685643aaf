#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/grammar.h"
#include "grammar/string_rules.h"

namespace graft::grammar {

using SchemaJson = nlohmann::ordered_json;  // properties come out in the order in which a schema lists them

// A JSON Schema (draft 2020-12, and what older drafts spell differently), read and made fit for a grammar.
//
// A grammar is a set of texts, a schema a predicate on values, so some keywords cannot become part of a grammar. This
// is the contract:
// - enforced token by token: type, enum, const, properties, required, additionalProperties, patternProperties,
//   propertyNames, minProperties, maxProperties, items, prefixItems, minItems, maxItems, minLength, maxLength, pattern,
//   format (those that XGrammar knows), minimum, maximum, exclusiveMinimum, exclusiveMaximum, anyOf, oneOf, allOf and
//   $ref within the document;
// - checked when the output is finished: multipleOf, uniqueItems, lengths beside a pattern or beyond 256, that exactly
// one of oneOf
//   fits, and everything above once more;
// - refused: not, if, then, else, contains, dependent*, unevaluated*, $dynamicRef, references to other documents; and
//   allOf, or keywords beside anyOf, oneOf or $ref, that cannot be merged into one schema.
// An object's properties come in the schema's order. Where `additionalProperties` is absent, an object that names
// properties has no others, and an array with prefixItems has no further items: what is generated is always valid, but
// not all that is valid is generated. For the same reason a pattern has to match the whole string.
struct Schema {
  std::string for_grammar;  // JSON, in XGrammar's dialect
  StringRules strings;      // to be put into the grammar that XGrammar makes of it
  SchemaJson root;          // as it came
};

// Errors name the place: "the schema at #/properties/a: `not` is not supported".
Result<Schema> read_schema(std::string_view text, const GrammarLimits& limits);

}  // namespace graft::grammar
