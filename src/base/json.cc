#include "base/json.h"

#include "base/json_parser.h"

namespace graft {

Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits) {
  return JsonParser<nlohmann::json>(text, limits).parse();
}

Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, const JsonLimits& limits) {
  return JsonParser<nlohmann::ordered_json>(text, limits).parse();
}

}  // namespace graft
