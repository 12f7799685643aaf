#include "text/stages/json_fields.h"

#include <algorithm>

#include "base/strings.h"

namespace graft::text {
namespace {
constexpr int64_t kLargestId = (1 << 22) - 1;
}

Result<JsonFields> JsonFields::of(const nlohmann::json& value, std::string path) {
  if (!value.is_object()) return invalid(path + ": expected an object, found " + value.type_name());
  return JsonFields(value, std::move(path));
}

std::string JsonFields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const nlohmann::json* JsonFields::any(const char* key) {
  known_.emplace_back(key);
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

Result<const nlohmann::json*> JsonFields::typed(const char* key, bool (nlohmann::json::*is_type)() const noexcept,
                                                const char* type_name) {
  const nlohmann::json* value = any(key);
  if (value == nullptr) return invalid(path_of(key) + ": missing; expected " + type_name);
  if (!(value->*is_type)()) return invalid(path_of(key) + ": expected " + type_name + ", found " + value->type_name());
  return value;
}

Result<std::string> JsonFields::string(const char* key) {
  GRAFT_TRY(const nlohmann::json* value, typed(key, &nlohmann::json::is_string, "a string"));
  return value->get<std::string>();
}

Result<std::optional<std::string>> JsonFields::optional_string(const char* key) {
  if (any(key) == nullptr) return std::optional<std::string>();
  GRAFT_TRY(std::string value, string(key));
  return std::optional<std::string>(std::move(value));
}

Result<bool> JsonFields::boolean(const char* key, std::optional<bool> fallback) {
  if (fallback.has_value() && any(key) == nullptr) return *fallback;
  GRAFT_TRY(const nlohmann::json* value, typed(key, &nlohmann::json::is_boolean, "true or false"));
  return value->get<bool>();
}

Result<const nlohmann::json*> JsonFields::array(const char* key) {
  return typed(key, &nlohmann::json::is_array, "an array");
}

Result<const nlohmann::json*> JsonFields::object(const char* key) {
  return typed(key, &nlohmann::json::is_object, "an object");
}

Status JsonFields::done() const {
  for (const auto& item : object_->items()) {
    if (std::find(known_.begin(), known_.end(), item.key()) != known_.end()) continue;
    return invalid(path_of(printable(item.key())) + ": unknown key" + suggestion(item.key(), known_));
  }
  return {};
}

Result<int32_t> token_id_from(const nlohmann::json& value, const std::string& path) {
  if (!value.is_number_integer()) {
    return invalid(path + ": expected a token id, found " + value.type_name());
  }
  const bool too_large = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(kLargestId);
  if (too_large || value.get<int64_t>() < 0) {
    return invalid(path + ": token id " + value.dump() + " is not in 0.." + std::to_string(kLargestId));
  }
  return value.get<int32_t>();
}

Error unsupported_type(const std::string& path, std::string_view type, const std::vector<std::string>& supported) {
  return unsupported(path + ": type '" + printable(type) + "' is not supported; supported: " + join(supported, ", "));
}

}  // namespace graft::text
