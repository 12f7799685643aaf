#include "grammar/schema_rewriter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/json.h"
#include "base/strings.h"
#include "grammar/expression_limits.h"
#include "grammar/schema_merge.h"
#include "grammar/schema_references.h"
#include "grammar/schema_validator.h"

namespace graft::grammar {
namespace {

constexpr size_t kMostNodes = 20'000;  // of the schema that comes out
constexpr std::array<std::string_view, 13> kRefused{"not",          "if",
                                                    "then",         "else",
                                                    "contains",     "dependentRequired",
                                                    "dependencies", "dependentSchemas",
                                                    "$dynamicRef",  "$recursiveRef",
                                                    "minContains",  "unevaluatedProperties",
                                                    "maxContains"};

struct TypeKeywords {
  std::string_view type;
  std::vector<std::string_view> keywords;
};

// A schema without a type is read as if it had the type that its keywords speak of.
const std::vector<TypeKeywords>& keywords_by_type() {
  static const std::vector<TypeKeywords> kTable{
      {"object",
       {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
        "maxProperties"}},
      {"array", {"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"}},
      {"string", {"minLength", "maxLength", "pattern", "format"}},
      {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}}};
  return kTable;
}

Error wrong(const std::string& place, const std::string& problem) {
  return invalid("the schema at " + place + ": " + problem);
}

bool has(const SchemaJson& schema, const char* keyword) { return schema.contains(keyword); }

SchemaJson without(SchemaJson schema, const std::string& keyword) {
  schema.erase(keyword);
  return schema;
}

bool only_annotations(const SchemaJson& schema) {
  for (const auto& [keyword, unused] : schema.items()) {
    if (!is_annotation(keyword)) return false;
  }
  return true;
}

}  // namespace

Result<SchemaJson> SchemaRewriter::rewrite() {
  GRAFT_TRY(SchemaJson out, any(root_, "#", 0));
  if (out.is_boolean()) out = SchemaJson::object();
  SchemaJson definitions = SchemaJson::object();
  while (!queue_.empty()) {
    const auto [target, name] = queue_.back();
    queue_.pop_back();
    GRAFT_TRY(definitions[name], any(*find_reference(root_, target), printable(target), 0));
  }
  if (!definitions.empty()) out["$defs"] = std::move(definitions);
  return out;
}

Result<SchemaJson> SchemaRewriter::any(const SchemaJson& schema, const std::string& place, int depth) {
  if (depth > limits_.depth) {
    return wrong(place, "nested deeper than " + std::to_string(limits_.depth) + " levels");
  }
  if (++nodes_ > kMostNodes) return invalid("the schema is too large: it has more than 20000 parts");
  if (schema == false) return wrong(place, "`false` allows no value at all");
  if (schema == true) return SchemaJson::object();
  if (!schema.is_object()) return wrong(place, "must be an object or a boolean");
  for (const std::string_view keyword : kRefused) {
    if (schema.contains(keyword)) return wrong(place, "`" + std::string(keyword) + "` is not supported");
  }
  return whole(schema, place, depth);
}

Result<SchemaJson> SchemaRewriter::whole(const SchemaJson& schema, const std::string& place, int depth) {
  if (only_annotations(schema)) return SchemaJson::object();
  if (has(schema, "$ref")) {
    if (only_annotations(without(schema, "$ref"))) return reference(schema, place);
    GRAFT_TRY(const SchemaJson opened, open_schema(schema));
    return any(opened, place, depth + 1);
  }
  if (has(schema, "allOf")) return all_of(schema, place, depth);
  if (has(schema, "const") || has(schema, "enum")) return values(schema, place);
  if (has(schema, "anyOf")) return choice(schema, "anyOf", place, depth);
  if (has(schema, "oneOf")) return choice(schema, "oneOf", place, depth);
  return typed(schema, place, depth);
}

Result<SchemaJson> SchemaRewriter::reference(const SchemaJson& schema, const std::string& place) {
  const SchemaJson only{{"$ref", schema["$ref"]}};
  std::string target = place;
  GRAFT_CHECK_OK([&]() -> Status {
    GRAFT_TRY([[maybe_unused]] const SchemaJson* end, follow_references(root_, only, target));
    return {};
  }());
  // By what it says and not by where it leads to, so that the same schema has the same name.
  const auto& said = schema["$ref"].get_ref<const std::string&>();
  const auto [found, added] = names_.try_emplace(said, "r" + std::to_string(names_.size()));
  if (added) queue_.emplace_back(said, found->second);
  return SchemaJson{{"$ref", "#/$defs/" + found->second}};
}

// One level of $ref replaced by what it leads to, merged with what stands beside it.
Result<SchemaJson> SchemaRewriter::open_schema(const SchemaJson& schema) {
  if (!schema.is_object() || !has(schema, "$ref")) return schema;
  std::string place = "#";
  const SchemaJson only{{"$ref", schema["$ref"]}};
  GRAFT_TRY(const SchemaJson* target, follow_references(root_, only, place));
  if (target->is_object() && has(*target, "$ref")) {
    return SchemaJson{{"allOf", SchemaJson::array({*target, without(schema, "$ref")})}};
  }
  return merge_schemas(*target, without(schema, "$ref"), place);
}

Result<SchemaJson> SchemaRewriter::all_of(const SchemaJson& schema, const std::string& place, int depth) {
  const SchemaJson& parts = schema["allOf"];
  if (!parts.is_array() || parts.empty()) return wrong(place, "`allOf` must be an array of schemas");
  SchemaJson merged = without(schema, "allOf");
  for (const SchemaJson& part : parts) {
    if (++nodes_ > kMostNodes) return invalid("the schema is too large: it has more than 20000 parts");
    GRAFT_TRY(SchemaJson opened, open_schema(part));
    // Two lists of allOf are one.
    if (opened.is_object() && has(opened, "allOf") && has(merged, "allOf")) {
      for (const SchemaJson& inner : opened["allOf"]) merged["allOf"].push_back(inner);
      opened.erase("allOf");
    }
    GRAFT_TRY(merged, merge_schemas(merged, opened, place));
  }
  return any(merged, place, depth + 1);
}

// What stands beside anyOf holds for each of its options.
Result<SchemaJson> SchemaRewriter::choice(const SchemaJson& schema, const std::string& keyword,
                                          const std::string& place, int depth) {
  const SchemaJson& options = schema[keyword];
  if (!options.is_array() || options.empty()) return wrong(place, "`" + keyword + "` must be an array of schemas");
  const SchemaJson beside = without(schema, keyword);
  const bool alone = only_annotations(beside);
  SchemaJson out = SchemaJson::array();
  for (size_t i = 0; i < options.size(); ++i) {
    const std::string inner = place + "/" + keyword + "/" + std::to_string(i);
    if (options[i] == false) continue;
    SchemaJson option = options[i];
    if (!alone) {
      GRAFT_TRY(option, open_schema(option));
      GRAFT_TRY(option, merge_schemas(beside, option, inner));
    }
    GRAFT_TRY(option, any(option, inner, depth + 1));
    out.push_back(std::move(option));
  }
  if (out.empty()) return wrong(place, "`" + keyword + "` allows no value at all");
  if (out.size() == 1) return out[0];
  return SchemaJson{{"anyOf", std::move(out)}};
}

// Which of the values fit what stands beside them is decided here.
Result<SchemaJson> SchemaRewriter::values(const SchemaJson& schema, const std::string& place) {
  SchemaJson candidates = SchemaJson::array();
  if (has(schema, "enum")) {
    if (!schema["enum"].is_array()) return wrong(place, "`enum` must be an array");
    candidates = schema["enum"];
  } else {
    candidates.push_back(schema["const"]);
  }
  const SchemaValidator validator(root_);
  SchemaJson kept = SchemaJson::array();
  for (const SchemaJson& value : candidates) {
    if (++nodes_ > kMostNodes) return invalid("the schema is too large: it has more than 20000 parts");
    if (validator.validate(value, schema, place).ok()) kept.push_back(value);
  }
  if (kept.empty()) return wrong(place, "none of its values is allowed");
  return SchemaJson{{"enum", std::move(kept)}};
}

Result<SchemaJson> SchemaRewriter::typed(const SchemaJson& schema, const std::string& place, int depth) {
  std::vector<std::string> types;
  if (has(schema, "type")) {
    const SchemaJson& type = schema["type"];
    for (const SchemaJson& name : type.is_array() ? type : SchemaJson::array({type})) {
      if (!name.is_string()) return wrong(place, "`type` must be a string or an array of strings");
      types.push_back(name.get<std::string>());
    }
    if (types.empty()) return wrong(place, "`type` allows no value at all");
  } else {
    for (const TypeKeywords& row : keywords_by_type()) {
      const bool speaks =
          std::ranges::any_of(row.keywords, [&](std::string_view word) { return schema.contains(word); });
      if (speaks) types.emplace_back(row.type);
    }
  }
  SchemaJson options = SchemaJson::array();
  for (const std::string& type : types) {
    GRAFT_TRY(SchemaJson option, of_type(type, schema, place, depth));
    options.push_back(std::move(option));
  }
  if (options.size() == 1) return options[0];
  return SchemaJson{{"anyOf", std::move(options)}};
}

Result<SchemaJson> SchemaRewriter::of_type(const std::string& type, const SchemaJson& schema, const std::string& place,
                                           int depth) {
  SchemaJson out{{"type", type}};
  if (type == "string") {
    GRAFT_CHECK_OK(string(schema, place, out));
  } else if (type == "integer" || type == "number") {
    GRAFT_CHECK_OK(number(schema, place, out));
  } else if (type == "array") {
    GRAFT_CHECK_OK(array(schema, place, depth, out));
  } else if (type == "object") {
    GRAFT_CHECK_OK(object(schema, place, depth, out));
  } else if (type != "boolean" && type != "null") {
    return wrong(place, "`type` \"" + printable(type, 40) +
                            "\" is none of object, array, string, number, integer, boolean, null");
  }
  return out;
}

// A count that is kept where it is small enough for a grammar; the finished output is checked in any case.
Status SchemaRewriter::count(const SchemaJson& schema, const char* keyword, const std::string& place,
                             SchemaJson& out) const {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return {};
  const bool whole =
      found->is_number() && found->get<double>() >= 0 && std::floor(found->get<double>()) == found->get<double>();
  if (!whole) return wrong(place, std::string("`") + keyword + "` must be a whole number, zero or more");
  const double value = found->get<double>();
  const auto most = static_cast<double>(limits_.repetitions);
  if (value <= most) {
    out[keyword] = static_cast<int64_t>(value);
  } else if (std::string_view(keyword).starts_with("min")) {
    return wrong(place, std::string("`") + keyword + "` must be at most " + std::to_string(limits_.repetitions));
  }
  return {};
}

Status SchemaRewriter::string(const SchemaJson& schema, const std::string& place, SchemaJson& out) {
  SchemaJson lengths = SchemaJson::object();
  GRAFT_CHECK_OK(count(schema, "minLength", place, lengths));
  GRAFT_CHECK_OK(count(schema, "maxLength", place, lengths));
  StringLength length{lengths.value("minLength", int64_t{0}), std::nullopt};
  if (has(lengths, "maxLength")) length.most = lengths["maxLength"].get<int64_t>();
  if (length.most && length.least > *length.most) return wrong(place, "`minLength` is more than `maxLength`");
  if (has(schema, "pattern")) {
    if (!schema["pattern"].is_string()) return wrong(place, "`pattern` must be a string");
    Result<std::string> pattern = whole_match_pattern(schema["pattern"].get_ref<const std::string&>(), limits_);
    if (!pattern.ok()) return wrong(place, pattern.error().message);
    out["pattern"] = std::move(pattern).value();
    return {};
  }
  if (has(schema, "format") && schema["format"].is_string()) {
    out["format"] = schema["format"];
    if (is_enforced_format(out["format"].get_ref<const std::string&>())) return {};
    out.erase("format");
  }
  if (!count_strings_) return {};
  if (const auto placeholder = strings_.placeholder(length)) out = SchemaJson{{"const", *placeholder}};
  return {};
}

Status SchemaRewriter::number(const SchemaJson& schema, const std::string& place, SchemaJson& out) {
  const bool integer = out["type"] == "integer";
  for (const char* keyword : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}) {
    if (!has(schema, keyword)) continue;
    SchemaJson value = schema[keyword];
    std::string name = keyword;
    if (value.is_boolean() && name.starts_with("exclusive")) {  // draft 4: a flag beside the bound
      const std::string bound = name == "exclusiveMinimum" ? "minimum" : "maximum";
      if (value == false || !has(schema, bound.c_str())) continue;
      value = schema[bound];
      out.erase(bound);
    }
    if (!value.is_number()) return wrong(place, "`" + name + "` must be a number");
    const double number = value.get<double>();
    if (!std::isfinite(number) || std::abs(number) > 1e15) continue;  // beyond what a grammar counts exactly
    if (integer && name != "multipleOf" && std::floor(number) != number) {
      // The nearest integers within the bound.
      const bool lower = name == "minimum" || name == "exclusiveMinimum";
      value = static_cast<int64_t>(lower ? std::ceil(number) : std::floor(number));
      name = lower ? "minimum" : "maximum";
      if (out.contains(name)) value = lower ? std::max(value, out[name]) : std::min(value, out[name]);
    } else if (value.is_number_float() && std::floor(number) == number) {
      value = static_cast<int64_t>(number);
    }
    out[name] = std::move(value);
  }
  return {};
}

Status SchemaRewriter::array(const SchemaJson& schema, const std::string& place, int depth, SchemaJson& out) {
  SchemaJson first = has(schema, "prefixItems") ? schema["prefixItems"] : SchemaJson();
  SchemaJson rest = has(schema, "items") ? schema["items"] : SchemaJson();
  if (rest.is_array()) {  // before 2020-12, items was prefixItems and additionalItems was items
    first = std::exchange(rest, has(schema, "additionalItems") ? schema["additionalItems"] : SchemaJson());
  }
  if (!first.is_null() && !first.is_array()) return wrong(place, "`prefixItems` must be an array of schemas");
  if (rest.is_null()) rest = first.is_null() || first.empty();
  GRAFT_CHECK_OK(count(schema, "minItems", place, out));
  GRAFT_CHECK_OK(count(schema, "maxItems", place, out));
  SchemaJson prefix = SchemaJson::array();
  for (const SchemaJson& item : first) {
    GRAFT_TRY(SchemaJson fine, any(item, place + "/prefixItems/" + std::to_string(prefix.size()), depth + 1));
    prefix.push_back(std::move(fine));
  }
  if (!prefix.empty()) out["prefixItems"] = std::move(prefix);
  if (rest == false || out.value("maxItems", int64_t{1}) == 0) {
    out["items"] = false;
    return {};
  }
  GRAFT_TRY(out["items"], any(rest, place + "/items", depth + 1));
  return {};
}

Status SchemaRewriter::object(const SchemaJson& schema, const std::string& place, int depth, SchemaJson& out) {
  GRAFT_CHECK_OK(count(schema, "minProperties", place, out));
  GRAFT_CHECK_OK(count(schema, "maxProperties", place, out));
  const bool names_some = has(schema, "properties") || has(schema, "patternProperties");
  const SchemaJson beyond =
      has(schema, "additionalProperties") ? schema["additionalProperties"] : SchemaJson(!names_some);
  out["additionalProperties"] = beyond;
  if (beyond.is_object()) {
    GRAFT_TRY(out["additionalProperties"], any(beyond, place + "/additionalProperties", depth + 1));
  } else if (!beyond.is_boolean()) {
    return wrong(place, "`additionalProperties` must be a schema");
  }
  GRAFT_CHECK_OK(properties(schema, place, depth, out));
  if (has(schema, "patternProperties")) {
    if (!schema["patternProperties"].is_object()) return wrong(place, "`patternProperties` must be an object");
    SchemaJson patterns = SchemaJson::object();
    for (const auto& [pattern, value] : schema["patternProperties"].items()) {
      Result<std::string> whole = whole_match_pattern(pattern, limits_);
      if (!whole.ok()) return wrong(place + "/patternProperties", whole.error().message);
      GRAFT_TRY(patterns[*whole], any(value, place + "/patternProperties/" + printable(pattern), depth + 1));
    }
    if (!patterns.empty()) out["patternProperties"] = std::move(patterns);
  }
  if (has(schema, "propertyNames") && beyond != false) {
    SchemaJson names = schema["propertyNames"];
    if (names.is_object() && !names.contains("$ref") && !names.contains("type")) names["type"] = "string";
    GRAFT_TRY(SchemaJson fine, any(names, place + "/propertyNames", depth + 1));
    if (!fine.empty()) out["propertyNames"] = std::move(fine);
  }
  return {};
}

Status SchemaRewriter::properties(const SchemaJson& schema, const std::string& place, int depth, SchemaJson& out) {
  SchemaJson named = has(schema, "properties") ? schema["properties"] : SchemaJson::object();
  SchemaJson required = has(schema, "required") ? schema["required"] : SchemaJson::array();
  if (!named.is_object()) return wrong(place, "`properties` must be an object");
  if (!required.is_array()) return wrong(place, "`required` must be an array of strings");
  SchemaJson fine = SchemaJson::object();
  for (const auto& [name, value] : named.items()) {
    const bool needed = std::ranges::find(required, SchemaJson(name)) != required.end();
    const bool named_well =
        !has(schema, "propertyNames") || SchemaValidator(root_).validate(name, schema["propertyNames"], place).ok();
    if ((value == false || !named_well) && !needed) continue;  // the property must not be there
    if (!named_well) return wrong(place, "`propertyNames` forbids \"" + printable(name, 60) + "\", which is required");
    GRAFT_TRY(fine[name], any(value, place + "/properties/" + printable(name), depth + 1));
  }
  for (const SchemaJson& name : required) {
    if (!name.is_string()) return wrong(place, "`required` must be an array of strings");
    if (named.contains(name.get_ref<const std::string&>())) continue;
    if (out["additionalProperties"] == false) {
      return wrong(place, "`required` names \"" + printable(name.get<std::string>(), 60) +
                              "\", which `properties` does not have");
    }
    fine[name.get<std::string>()] =
        out["additionalProperties"] == true ? SchemaJson::object() : out["additionalProperties"];
  }
  if (!fine.empty()) out["properties"] = std::move(fine);
  if (!required.empty()) out["required"] = std::move(required);
  return {};
}

Result<Schema> read_schema(std::string_view text, const GrammarLimits& limits) {
  const JsonLimits json_limits{.depth = static_cast<size_t>(2 * limits.depth + 8)};
  Result<SchemaJson> root = parse_ordered_json(text, json_limits);
  if (!root.ok()) return at("the schema", root.error());
  Schema schema;
  schema.root = std::move(root).value();
  SchemaRewriter rewriter(schema.root, limits, !mentions_placeholder(std::string(text)));
  GRAFT_TRY(const SchemaJson rewritten, rewriter.rewrite());
  schema.for_grammar = rewritten.dump();
  schema.strings = rewriter.strings();
  return schema;
}

}  // namespace graft::grammar
