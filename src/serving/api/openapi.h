#pragma once

#include <string>
#include <utility>
#include <vector>

#include "serving/api/json_text.h"

namespace graft::serving::api {

using RouteList = std::vector<std::pair<std::string, std::string>>;  // method and pattern, as the router has them

// The OpenAPI 3.1 description of these routes. One without documentation is left out; undocumented() names those.
OrderedJson openapi_document(const RouteList& routes, const std::string& version);
RouteList undocumented(const RouteList& routes);

// components/schemas: bodies of requests and answers by name.
OrderedJson openapi_schemas();

// A page that shows the description. It loads nothing from anywhere else.
std::string docs_page();

}  // namespace graft::serving::api
