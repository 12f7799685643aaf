#include "formats/json_fields.h"

#include <cmath>

namespace graft::formats {
namespace {

Error missing(const std::string& key) { return invalid("key '" + key + "' is missing"); }

Error wrong(const std::string& key, const std::string& expected, const nlohmann::json& value) {
  return invalid("key '" + key + "' must be " + expected + ", not " + value.type_name());
}

}  // namespace

const nlohmann::json* JsonFields::find(const std::string& key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::json* JsonFields::raw(const std::string& key) const {
  const auto found = object_->find(key);
  return found == object_->end() ? nullptr : &*found;
}

Result<int64_t> JsonFields::integer(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return missing(key);
  if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX})
    return invalid("key '" + key + "' is too large");
  if (!value->is_number_integer()) return wrong(key, "a whole number", *value);
  return value->get<int64_t>();
}

Result<int64_t> JsonFields::integer_or(const std::string& key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

Result<double> JsonFields::number(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return missing(key);
  if (!value->is_number()) return wrong(key, "a number", *value);
  const auto number = value->get<double>();
  if (!std::isfinite(number)) return invalid("key '" + key + "' is not finite");
  return number;
}

Result<double> JsonFields::number_or(const std::string& key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

Result<bool> JsonFields::boolean_or(const std::string& key, bool fallback) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return wrong(key, "true or false", *value);
  return value->get<bool>();
}

Result<std::string> JsonFields::text(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return missing(key);
  if (!value->is_string()) return wrong(key, "a string", *value);
  return value->get<std::string>();
}

Result<std::string> JsonFields::text_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? text(key) : fallback;
}

Result<std::vector<std::string>> JsonFields::texts(const std::string& key) const {
  const nlohmann::json* value = find(key);
  std::vector<std::string> texts;
  if (value == nullptr) return texts;
  if (!value->is_array()) return wrong(key, "a list of strings", *value);
  for (const auto& entry : *value) {
    if (!entry.is_string()) return wrong(key, "a list of strings", *value);
    texts.push_back(entry.get<std::string>());
  }
  return texts;
}

Result<std::vector<int64_t>> JsonFields::integers(const std::string& key) const {
  const nlohmann::json* value = find(key);
  std::vector<int64_t> numbers;
  if (value == nullptr) return numbers;
  if (!value->is_array()) return wrong(key, "a list of whole numbers", *value);
  for (const auto& entry : *value) {
    if (!entry.is_number_integer()) return wrong(key, "a list of whole numbers", *value);
    numbers.push_back(entry.get<int64_t>());
  }
  return numbers;
}

Result<std::vector<double>> JsonFields::numbers(const std::string& key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return missing(key);
  std::vector<double> numbers;
  if (!value->is_array()) return wrong(key, "a list of numbers", *value);
  for (const auto& entry : *value) {
    if (!entry.is_number() || !std::isfinite(entry.get<double>())) return wrong(key, "a list of numbers", *value);
    numbers.push_back(entry.get<double>());
  }
  return numbers;
}

}  // namespace graft::formats
