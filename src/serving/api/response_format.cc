#include "serving/api/response_format.h"

#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "fmt/format.h"
#include "serving/api/fields.h"

namespace graft::serving::api {
namespace {

using grammar::GrammarKind;
using grammar::GrammarSpec;
using Constraint = std::optional<GrammarSpec>;

constexpr size_t kDeepestBody = 128;

const OrderedJson* find(const OrderedJson& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

// The first of the names that is there.
const OrderedJson* find_one(const OrderedJson& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (const OrderedJson* value = find(object, key)) return value;
  }
  return nullptr;
}

ApiResult<Constraint> read_text(const OrderedJson& format, GrammarKind kind, const char* key,
                                const std::string& place) {
  const OrderedJson* text = find_one(format, {key, "value"});
  if (text == nullptr || !text->is_string()) {
    return bad_field(fmt::format("`{}.{}` must be a string", place, key), place + "." + key);
  }
  return Constraint({kind, text->get<std::string>()});
}

ApiResult<Constraint> read_schema(const OrderedJson& format, std::string place) {
  const OrderedJson* holder = &format;
  if (const OrderedJson* nested = find(format, "json_schema"); nested != nullptr && !nested->is_null()) {
    place += ".json_schema";
    if (!nested->is_object()) return bad_field(fmt::format("`{}` must be an object", place), place);
    holder = nested;
  }
  const OrderedJson* schema = find_one(*holder, {"schema", "value"});
  if (schema == nullptr) return Constraint({GrammarKind::kJsonObject, {}});
  if (schema->is_null()) return Constraint();
  if (schema->is_string()) return Constraint({GrammarKind::kJsonSchema, schema->get<std::string>()});
  if (!schema->is_object() && !schema->is_boolean()) {
    return bad_field(fmt::format("`{}.schema` must be a JSON Schema", place), place + ".schema");
  }
  return Constraint({GrammarKind::kJsonSchema, to_text(*schema)});
}

ApiError from_compilation(const Error& error, const std::string& field) {
  switch (error.kind) {
    case ErrorKind::kInvalid:
    case ErrorKind::kUnsupported:
      return bad_field(fmt::format("`{}`: {}", field, error.message), field);
    default:
      return from_submit(error);
  }
}

}  // namespace

ApiResult<Constraint> read_response_format(const OrderedJson& format, const std::string& place) {
  if (format.is_null()) return Constraint();
  if (!format.is_object()) {
    return bad_field(fmt::format("`{}` must be an object, not {}", place, json_type(Json(format))), place);
  }
  const OrderedJson* type = find(format, "type");
  if (type != nullptr && *type == "text") return Constraint();
  if (type != nullptr && (*type == "json_object" || *type == "json_schema")) return read_schema(format, place);
  if (type != nullptr && *type == "regex") return read_text(format, GrammarKind::kRegex, "pattern", place);
  if (type != nullptr && *type == "grammar") return read_text(format, GrammarKind::kEbnf, "grammar", place);
  return bad_field(fmt::format("`{}.type` must be one of text, json_object, json_schema, regex, grammar", place),
                   place + ".type");
}

ApiResult<Constraint> response_format_of(std::string_view body, const std::string& within) {
  if (body.find("response_format") == std::string_view::npos) return Constraint();
  const auto json = parse_ordered_json(body, {.depth = kDeepestBody});
  if (!json.ok()) return ApiError{Failure::kMalformed, "the request's body is " + json.error().message, {}, {}};
  const OrderedJson* holder = within.empty() ? &json.value() : find(json.value(), within);
  if (holder == nullptr || !holder->is_object()) return Constraint();
  const OrderedJson* format = find(*holder, "response_format");
  if (format == nullptr) return Constraint();
  return read_response_format(*format, within.empty() ? "response_format" : within + ".response_format");
}

void compile_constraint(const ApiContext& context, const Constraint& spec, const std::string& field,
                        std::function<void(ApiResult<std::shared_ptr<const grammar::Grammar>>)> done) {
  if (!spec) return done(std::shared_ptr<const grammar::Grammar>());
  context.grammars->compile(*spec, [field, done = std::move(done)](grammar::Compiler::Outcome outcome) {
    if (!outcome.ok()) return done(from_compilation(outcome.error(), field));
    done(std::move(outcome).value());
  });
}

}  // namespace graft::serving::api
