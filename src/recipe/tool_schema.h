#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace graft::recipe {

// Whether `schema` is one that JSON Schema's draft 2020-12 allows: known keywords have values of the right kind, at
// every depth. Unknown keywords are left alone, as the draft has it. Errors name the place: "/properties/a/type: ...".
Status check_json_schema(const nlohmann::ordered_json& schema);

// The functions that a chat may call, from a cell: a list of definitions, or its JSON text; null, an empty list and
// empty text are none (null). A definition is {type: function, function: {name, description, parameters}}, or the inner
// object alone, which is put into the outer one. `parameters` must be a valid JSON Schema of an object.
// Errors name the tool: "tools[0]: ...".
Result<nlohmann::ordered_json> read_tools(const nlohmann::ordered_json& cell);

}  // namespace graft::recipe
