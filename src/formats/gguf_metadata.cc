#include <cmath>

#include "base/strings.h"
#include "formats/gguf.h"

namespace graft::formats {
namespace {

std::string quoted(std::string_view key) { return "metadata key '" + printable(key) + "'"; }
Error missing(std::string_view key) { return invalid(quoted(key) + " is missing"); }
Error wrong(std::string_view key, const char* expected) { return invalid(quoted(key) + " must be " + expected); }

std::optional<int64_t> as_integer(const GgufValue& value) {
  if (const auto* number = std::get_if<int64_t>(&value.value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value.value); number != nullptr && *number <= uint64_t{INT64_MAX}) {
    return static_cast<int64_t>(*number);
  }
  return std::nullopt;
}

}  // namespace

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

Result<int64_t> GgufMetadata::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(key);
  if (const auto number = as_integer(*value)) return *number;
  return wrong(key, "a whole number");
}

Result<int64_t> GgufMetadata::integer_or(std::string_view key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

Result<double> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(key);
  if (const auto number = as_integer(*value)) return static_cast<double>(*number);
  const auto* number = std::get_if<double>(&value->value);
  if (number == nullptr || !std::isfinite(*number)) return wrong(key, "a finite number");
  return *number;
}

Result<double> GgufMetadata::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

Result<bool> GgufMetadata::boolean_or(std::string_view key, bool fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const auto* flag = std::get_if<bool>(&value->value)) return *flag;
  return wrong(key, "true or false");
}

Result<std::string> GgufMetadata::text(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(key);
  if (const auto* text = std::get_if<std::string_view>(&value->value)) return std::string(*text);
  return wrong(key, "a string");
}

Result<std::string> GgufMetadata::text_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : std::string(fallback);
}

Result<const std::vector<std::string_view>*> GgufMetadata::texts(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(key);
  if (const auto* array = std::get_if<GgufValue::Array>(&value->value)) {
    if (const auto* texts = std::get_if<std::vector<std::string_view>>(array)) return texts;
  }
  return wrong(key, "an array of strings");
}

Result<std::vector<int64_t>> GgufMetadata::integers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(key);
  const auto* array = std::get_if<GgufValue::Array>(&value->value);
  if (array == nullptr) return wrong(key, "an array of whole numbers");
  if (const auto* numbers = std::get_if<std::vector<int64_t>>(array)) return *numbers;
  const auto* numbers = std::get_if<std::vector<uint64_t>>(array);
  if (numbers == nullptr) return wrong(key, "an array of whole numbers");
  std::vector<int64_t> widened;
  for (const uint64_t number : *numbers) {
    if (number > uint64_t{INT64_MAX}) return wrong(key, "an array of whole numbers below 2^63");
    widened.push_back(static_cast<int64_t>(number));
  }
  return widened;
}

Result<std::vector<double>> GgufMetadata::numbers(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return missing(key);
  const auto* array = std::get_if<GgufValue::Array>(&value->value);
  const auto* numbers = array == nullptr ? nullptr : std::get_if<std::vector<double>>(array);
  if (numbers == nullptr) return wrong(key, "an array of numbers");
  for (const double number : *numbers) {
    if (!std::isfinite(number)) return wrong(key, "an array of finite numbers");
  }
  return *numbers;
}

}  // namespace graft::formats
