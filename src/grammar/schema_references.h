#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "grammar/schema.h"

namespace graft::grammar {

// What "#", "#/$defs/a", "#/properties/b~1c" or "#/anyOf/0" points to within `root`; null: nothing.
const SchemaJson* find_reference(const SchemaJson& root, std::string_view reference);

// Follows $ref until a schema says something itself; the place is moved along. Errors: a reference that leads nowhere,
// to another document, or round in a circle.
Result<const SchemaJson*> follow_references(const SchemaJson& root, const SchemaJson& schema, std::string& place);

}  // namespace graft::grammar
