#include "grammar/schema_merge.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/strings.h"

namespace graft::grammar {
namespace {

constexpr std::array<std::string_view, 41> kAssertions{
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
};

Error contradiction(const std::string& place, const std::string& keyword) {
  return invalid("the schema at " + place + ": nothing can be valid, its parts contradict each other in `" + keyword +
                 "`");
}

SchemaJson both(const SchemaJson& a, const SchemaJson& b) {
  if (a == b) return a;
  return {{"allOf", SchemaJson::array({a, b})}};
}

SchemaJson as_list(const SchemaJson& value) { return value.is_array() ? value : SchemaJson::array({value}); }

bool contains(const SchemaJson& list, const SchemaJson& value) { return std::ranges::find(list, value) != list.end(); }

// "integer" is part of "number".
SchemaJson common_types(const SchemaJson& a, const SchemaJson& b) {
  SchemaJson out = SchemaJson::array();
  const auto add = [&](const SchemaJson& from, const SchemaJson& other) {
    for (const auto& type : from) {
      const bool shared = contains(other, type) || (type == "integer" && contains(other, "number"));
      if (shared && !contains(out, type)) out.push_back(type);
    }
  };
  add(as_list(a), as_list(b));
  add(as_list(b), as_list(a));
  if (contains(out, "number") && contains(out, "integer")) {
    out.erase(std::ranges::find(out, SchemaJson("integer")));
  }
  return out;
}

Result<SchemaJson> merge_values(const std::string& keyword, const SchemaJson& a, const SchemaJson& b,
                                const std::string& place) {
  if (a == b) return a;
  const auto one_of = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, std::string_view(keyword)) != names.end();
  };
  const bool numbers = a.is_number() && b.is_number();
  if (numbers && one_of({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})) {
    return a < b ? b : a;
  }
  if (numbers && one_of({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})) {
    return a < b ? a : b;
  }
  if (keyword == "type" || keyword == "enum") {
    SchemaJson common = SchemaJson::array();
    if (keyword == "type") {
      common = common_types(a, b);
    } else if (a.is_array() && b.is_array()) {
      std::ranges::copy_if(a, std::back_inserter(common), [&](const SchemaJson& value) { return contains(b, value); });
    }
    if (common.empty()) return contradiction(place, keyword);
    return common;
  }
  if (keyword == "required" && a.is_array() && b.is_array()) {
    SchemaJson all = a;
    std::ranges::copy_if(b, std::back_inserter(all), [&](const SchemaJson& name) { return !contains(a, name); });
    return all;
  }
  if (keyword == "uniqueItems") return SchemaJson(a == true || b == true);
  if (keyword == "items" || keyword == "propertyNames") return both(a, b);
  if (keyword == "const") return contradiction(place, keyword);
  return invalid("the schema at " + place + ": two different `" + keyword +
                 "` hold at once, which is not supported; write one schema that says both");
}

// What a schema says about a property that it does not name.
SchemaJson beyond(const SchemaJson& schema) {
  if (schema.contains("patternProperties")) return nullptr;  // unknown
  const auto found = schema.find("additionalProperties");
  return found == schema.end() ? SchemaJson(true) : *found;
}

// properties and additionalProperties depend on each other: a name that only one schema knows is an additional one of
// the other.
Status merge_properties(const SchemaJson& a, const SchemaJson& b, const std::string& place, SchemaJson& out) {
  SchemaJson properties = SchemaJson::object();
  const SchemaJson beyond_a = beyond(a);
  const SchemaJson beyond_b = beyond(b);
  const auto add = [&](const SchemaJson& from, const SchemaJson& other, const SchemaJson& beyond_other) -> Status {
    const auto own = from.find("properties");
    if (own == from.end() || !own->is_object()) return {};
    for (const auto& [name, schema] : own->items()) {
      if (properties.contains(name)) continue;
      const auto shared = other.find("properties");
      if (shared != other.end() && shared->contains(name)) {
        properties[name] = both(schema, (*shared)[name]);
      } else if (beyond_other == true) {
        properties[name] = schema;
      } else if (beyond_other.is_object()) {
        properties[name] = both(schema, beyond_other);
      } else if (beyond_other.is_null()) {
        return invalid("the schema at " + place + ": `patternProperties` beside other properties in allOf are not " +
                       "supported");
      }
    }
    return {};
  };
  GRAFT_CHECK_OK(add(a, b, beyond_b));
  GRAFT_CHECK_OK(add(b, a, beyond_a));
  if (!properties.empty()) out["properties"] = std::move(properties);
  if (beyond_a == false || beyond_b == false) {
    out["additionalProperties"] = false;
  } else if (beyond_a.is_object() && beyond_b.is_object()) {
    out["additionalProperties"] = both(beyond_a, beyond_b);
  } else if (beyond_a.is_object() || beyond_b.is_object()) {
    out["additionalProperties"] = beyond_a.is_object() ? beyond_a : beyond_b;
  }
  return {};
}

}  // namespace

bool is_annotation(const std::string& keyword) {
  return std::ranges::find(kAssertions, std::string_view(keyword)) == kAssertions.end();
}

Result<SchemaJson> merge_schemas(const SchemaJson& a, const SchemaJson& b, const std::string& place) {
  if (a == false || b == false) return contradiction(place, "false");
  if (!a.is_object()) return b;
  if (!b.is_object()) return a;
  SchemaJson out = SchemaJson::object();
  GRAFT_CHECK_OK(merge_properties(a, b, place, out));
  for (const SchemaJson* side : {&a, &b}) {
    for (const auto& [keyword, value] : side->items()) {
      if (is_annotation(keyword) || keyword == "properties" || keyword == "additionalProperties") continue;
      const SchemaJson& other = side == &a ? b : a;
      if (!other.contains(keyword)) {
        out[keyword] = value;
      } else if (side == &a) {
        GRAFT_TRY(out[keyword], merge_values(keyword, value, b[keyword], place));
      }
    }
  }
  return out;
}

}  // namespace graft::grammar
