#include "recipe/tool_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/strings.h"

namespace graft::recipe {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostDepth = 64;  // of schemas in schemas; the reader of the file bounds it already

// What the value of a keyword has to be.
enum class Kind {
  kSchema,       // an object or a boolean
  kSchemas,      // a list of them, not empty
  kSchemaMap,    // an object of them
  kItems,        // a schema, or a list of them as older drafts have it
  kType,         // a name of a type, or a list of different ones
  kStrings,      // a list of different texts
  kStringLists,  // an object of such lists
  kList,
  kText,
  kBoolean,
  kNumber,
  kPositive,  // a number above 0
  kCount,     // a whole number from 0
};

const std::map<std::string_view, Kind>& keywords() {
  static const std::map<std::string_view, Kind> table = {
      {"additionalProperties", Kind::kSchema},
      {"allOf", Kind::kSchemas},
      {"anyOf", Kind::kSchemas},
      {"contains", Kind::kSchema},
      {"contentEncoding", Kind::kText},
      {"contentMediaType", Kind::kText},
      {"$comment", Kind::kText},
      {"$defs", Kind::kSchemaMap},
      {"definitions", Kind::kSchemaMap},
      {"dependentRequired", Kind::kStringLists},
      {"dependentSchemas", Kind::kSchemaMap},
      {"deprecated", Kind::kBoolean},
      {"description", Kind::kText},
      {"else", Kind::kSchema},
      {"enum", Kind::kList},
      {"examples", Kind::kList},
      {"exclusiveMaximum", Kind::kNumber},
      {"exclusiveMinimum", Kind::kNumber},
      {"format", Kind::kText},
      {"if", Kind::kSchema},
      {"items", Kind::kItems},
      {"maxContains", Kind::kCount},
      {"maximum", Kind::kNumber},
      {"maxItems", Kind::kCount},
      {"maxLength", Kind::kCount},
      {"maxProperties", Kind::kCount},
      {"minContains", Kind::kCount},
      {"minimum", Kind::kNumber},
      {"minItems", Kind::kCount},
      {"minLength", Kind::kCount},
      {"minProperties", Kind::kCount},
      {"multipleOf", Kind::kPositive},
      {"not", Kind::kSchema},
      {"oneOf", Kind::kSchemas},
      {"pattern", Kind::kText},
      {"patternProperties", Kind::kSchemaMap},
      {"prefixItems", Kind::kSchemas},
      {"properties", Kind::kSchemaMap},
      {"propertyNames", Kind::kSchema},
      {"readOnly", Kind::kBoolean},
      {"$ref", Kind::kText},
      {"required", Kind::kStrings},
      {"then", Kind::kSchema},
      {"title", Kind::kText},
      {"type", Kind::kType},
      {"unevaluatedItems", Kind::kSchema},
      {"unevaluatedProperties", Kind::kSchema},
      {"uniqueItems", Kind::kBoolean},
      {"writeOnly", Kind::kBoolean},
  };
  return table;
}

constexpr std::array<std::string_view, 7> kTypes = {"array",  "boolean", "integer", "null",
                                                    "number", "object",  "string"};

Error wrong(const std::string& place, const std::string& what) {
  return invalid((place.empty() ? "the schema" : place) + ": " + what);
}

Status check_type_name(const Json& value, const std::string& place) {
  const std::vector<std::string> names(kTypes.begin(), kTypes.end());
  if (!value.is_string()) return wrong(place, "must be the name of a type, or a list of names");
  const auto& name = value.get_ref<const std::string&>();
  if (std::find(kTypes.begin(), kTypes.end(), name) != kTypes.end()) return {};
  return wrong(place, fmt::format("'{}' is no type of JSON Schema{}", printable(name, 40), suggestion(name, names)));
}

Status check_distinct(const Json& list, const std::string& place) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (std::find(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(i), list[i]) !=
        list.begin() + static_cast<std::ptrdiff_t>(i)) {
      return wrong(place, "names the same twice");
    }
  }
  return {};
}

Status check_type(const Json& value, const std::string& place) {
  if (!value.is_array()) return check_type_name(value, place);
  if (value.empty()) return wrong(place, "must not be an empty list");
  for (const Json& item : value) GRAFT_CHECK_OK(check_type_name(item, place));
  return check_distinct(value, place);
}

Status check_strings(const Json& value, const std::string& place) {
  const bool texts =
      value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_string(); });
  if (!texts) return wrong(place, "must be a list of strings");
  return check_distinct(value, place);
}

Status check_schema(const Json& schema, const std::string& place, size_t depth);

Status check_each(const Json& schemas, const std::string& place, size_t depth) {
  if (schemas.is_object()) {
    for (const auto& [name, schema] : schemas.items()) {
      GRAFT_CHECK_OK(check_schema(schema, place + "/" + printable(name, 60), depth));
    }
    return {};
  }
  for (size_t i = 0; i < schemas.size(); ++i) {
    GRAFT_CHECK_OK(check_schema(schemas[i], place + "/" + std::to_string(i), depth));
  }
  return {};
}

Status check_string_lists(const Json& value, const std::string& place) {
  if (!value.is_object()) return wrong(place, "must be an object of lists of strings");
  for (const auto& [name, list] : value.items()) {
    GRAFT_CHECK_OK(check_strings(list, place + "/" + printable(name, 60)));
  }
  return {};
}

bool is_count(const Json& value) {
  if (value.is_number_unsigned()) return true;
  if (value.is_number_integer()) return value.get<int64_t>() >= 0;
  // 2.0 is a whole number, too.
  return value.is_number_float() && value.get<double>() >= 0 &&
         value.get<double>() == static_cast<double>(static_cast<int64_t>(std::min(value.get<double>(), 9e15)));
}

Status check_keyword(Kind kind, const Json& value, const std::string& place, size_t depth) {
  const auto needs = [&](bool right, const char* what) -> Status {
    if (!right) return wrong(place, what);
    return {};
  };
  switch (kind) {
    case Kind::kSchema:
      return check_schema(value, place, depth);
    case Kind::kSchemas:
      GRAFT_CHECK_OK(needs(value.is_array() && !value.empty(), "must be a list of schemas that is not empty"));
      return check_each(value, place, depth);
    case Kind::kSchemaMap:
      GRAFT_CHECK_OK(needs(value.is_object(), "must be an object of schemas"));
      return check_each(value, place, depth);
    case Kind::kItems:
      return value.is_array() ? check_each(value, place, depth) : check_schema(value, place, depth);
    case Kind::kType:
      return check_type(value, place);
    case Kind::kStrings:
      return check_strings(value, place);
    case Kind::kStringLists:
      return check_string_lists(value, place);
    case Kind::kList:
      return needs(value.is_array(), "must be a list");
    case Kind::kText:
      return needs(value.is_string(), "must be text");
    case Kind::kBoolean:
      return needs(value.is_boolean(), "must be true or false");
    case Kind::kNumber:
      return needs(value.is_number(), "must be a number");
    case Kind::kPositive:
      return needs(value.is_number() && value.get<double>() > 0, "must be a number above 0");
    case Kind::kCount:
      return needs(is_count(value), "must be a whole number from 0");
  }
  return {};
}

Status check_schema(const Json& schema, const std::string& place, size_t depth) {
  if (schema.is_boolean()) return {};
  if (!schema.is_object()) return wrong(place, "a schema must be an object, true or false");
  if (depth == kMostDepth) return wrong(place, "schemas are nested too deeply");
  for (const auto& [name, value] : schema.items()) {
    const auto known = keywords().find(name);
    if (known == keywords().end()) continue;
    GRAFT_CHECK_OK(check_keyword(known->second, value, place + "/" + name, depth + 1));
  }
  return {};
}

Status check_function(const Json& function) {
  const auto name = function.find("name");
  if (name == function.end() || !name->is_string() || name->get_ref<const std::string&>().empty()) {
    return invalid("the function's 'name' is missing or not text");
  }
  const std::string shown = printable(name->get_ref<const std::string&>(), 60);
  if (const auto text = function.find("description");
      text != function.end() && !text->is_string() && !text->is_null()) {
    return invalid(fmt::format("{}: 'description' must be text", shown));
  }
  const auto parameters = function.find("parameters");
  if (parameters == function.end() || parameters->is_null()) return {};
  if (!parameters->is_object()) {
    return invalid(
        fmt::format("{}: 'parameters' must be a JSON Schema: an object such as {{\"type\": \"object\", "
                    "\"properties\": {{...}}}}",
                    shown));
  }
  if (Status valid = check_json_schema(*parameters); !valid.ok()) {
    return at(shown + ": 'parameters' is not a valid JSON Schema", valid.error());
  }
  const auto type = parameters->find("type");
  if (type != parameters->end() && *type != "object") {
    return invalid(fmt::format("{}: 'parameters' must describe an object (\"type\": \"object\")", shown));
  }
  return {};
}

Result<Json> read_tool(const Json& tool) {
  if (!tool.is_object()) return invalid("expected an object {type: function, function: {name, parameters}}");
  if (!tool.contains("function")) {
    if (tool.contains("type") && tool["type"] == "function" && !tool.contains("name")) {
      return invalid("'function' is missing");
    }
    GRAFT_CHECK_OK(check_function(tool));
    return Json({{"type", "function"}, {"function", tool}});
  }
  if (!tool["function"].is_object()) return invalid("'function' must be an object {name, description, parameters}");
  GRAFT_CHECK_OK(check_function(tool["function"]));
  return tool;
}

}  // namespace

Status check_json_schema(const Json& schema) { return check_schema(schema, "", 0); }

Result<Json> read_tools(const Json& cell) {
  if (cell.is_null()) return Json();
  if (cell.is_string()) {
    const auto& text = cell.get_ref<const std::string&>();
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) return Json();
    auto parsed = parse_ordered_json(text);
    if (!parsed.ok()) return at("tools: is text that is not JSON", parsed.error());
    if (parsed->is_string()) return invalid("tools: must be a list of tools, or its JSON text");
    return read_tools(*parsed);
  }
  if (!cell.is_array()) return invalid("tools: must be a list of tools, or its JSON text");
  if (cell.empty()) return Json();
  Json tools = Json::array();
  for (size_t i = 0; i < cell.size(); ++i) {
    auto tool = read_tool(cell[i]);
    if (!tool.ok()) return at(fmt::format("tools[{}]", i), tool.error());
    tools.push_back(std::move(tool).value());
  }
  return tools;
}

}  // namespace graft::recipe
