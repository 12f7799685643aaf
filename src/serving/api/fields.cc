#include "serving/api/fields.h"

#include <utility>

#include "base/json.h"
#include "fmt/format.h"

namespace graft::serving::api {

std::string_view json_type(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_float:
      return "a number with a fraction or exponent";
    default:
      return "an integer";
  }
}

Fields::Fields(const Json& object, std::string prefix) : object_(&object), prefix_(std::move(prefix)) {}

const Json* Fields::find(const char* name) const {
  if (error_) return nullptr;
  return any(name);
}

const Json* Fields::any(const char* name) const {
  const auto it = object_->find(name);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

void Fields::fail(const std::string& name, const std::string& must) {
  if (!error_) error_ = bad_field(fmt::format("`{}{}` {}", prefix_, name, must), prefix_ + name);
}

void Fields::wrong_type(const char* name, std::string_view expected, const Json& found) {
  fail(name, fmt::format("must be {}, not {}", expected, json_type(found)));
}

std::optional<std::string> Fields::text(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  wrong_type(name, "a string", *value);
  return std::nullopt;
}

std::optional<double> Fields::number(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->get<double>();
  wrong_type(name, "a number", *value);
  return std::nullopt;
}

std::optional<int64_t> Fields::integer(const char* name, int64_t min, int64_t max) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) {
    wrong_type(name, "an integer", *value);
    return std::nullopt;
  }
  const bool too_big = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(max);
  if (too_big && max >= 0) {
    fail(name, fmt::format("must be <= {}. Given: {}", max, value->get<uint64_t>()));
    return std::nullopt;
  }
  const auto given = value->get<int64_t>();
  if (given >= min && given <= max) return given;
  fail(name, given < min ? fmt::format("must be >= {}. Given: {}", min, given)
                         : fmt::format("must be <= {}. Given: {}", max, given));
  return std::nullopt;
}

std::optional<uint64_t> Fields::unsigned_integer(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_number_unsigned()) return value->get<uint64_t>();
  if (value->is_number_integer()) {
    fail(name, fmt::format("must be >= 0. Given: {}", value->get<int64_t>()));
  } else {
    wrong_type(name, "an integer", *value);
  }
  return std::nullopt;
}

bool Fields::flag(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  wrong_type(name, "a boolean", *value);
  return false;
}

std::optional<std::vector<std::string>> Fields::texts(const char* name) {
  const Json* value = array(name);
  if (value == nullptr) return std::nullopt;
  std::vector<std::string> out;
  for (const Json& item : *value) {
    if (!item.is_string()) {
      fail(name, fmt::format("must be an array of strings, but item {} is {}", out.size(), json_type(item)));
      return std::nullopt;
    }
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::optional<std::vector<std::string>> Fields::text_or_texts(const char* name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::vector{value->get<std::string>()};
  if (value->is_array()) return texts(name);
  wrong_type(name, "a string or an array of strings", *value);
  return std::nullopt;
}

const Json* Fields::object(const char* name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_object()) return value;
  wrong_type(name, "an object", *value);
  return nullptr;
}

const Json* Fields::array(const char* name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_array()) return value;
  wrong_type(name, "an array", *value);
  return nullptr;
}

ApiResult<Json> parse_body(std::string_view body) {
  auto json = parse_json(body, {.depth = 64});
  if (!json.ok()) return ApiError{Failure::kMalformed, "the request's body is " + json.error().message, {}, {}};
  if (json.value().is_object()) return std::move(json).value();
  return bad_field(fmt::format("the request's body must be a JSON object, not {}", json_type(json.value())));
}

}  // namespace graft::serving::api
