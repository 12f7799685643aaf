#pragma once

#include <string>

#include "base/result.h"
#include "grammar/schema.h"

namespace graft::grammar {

// Whether a keyword says nothing about values: title, description, default, $defs, x-..., whatever is unknown.
bool is_annotation(const std::string& keyword);

// One schema that accepts what both accept, as far as that can be written down: a keyword that only one has is kept,
// bounds are tightened, types, enums and required are intersected or united, properties are merged in turn (as allOf of
// both). Neither has a $ref beside other keywords. Errors: keywords that have no such form; that nothing can be valid.
Result<SchemaJson> merge_schemas(const SchemaJson& a, const SchemaJson& b, const std::string& place);

}  // namespace graft::grammar
