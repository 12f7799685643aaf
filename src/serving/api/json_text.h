#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace graft::serving::api {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // responses keep the order in which fields are documented

// Compact JSON. NaN and infinities become null, invalid UTF-8 becomes U+FFFD: never fails.
inline std::string to_text(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace graft::serving::api
