#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace graft::formats {

// Typed reading of one JSON object. A key whose value is null counts as absent. Errors name the key.
class JsonFields {
 public:
  explicit JsonFields(const nlohmann::json& object) : object_(&object) {}

  [[nodiscard]] bool has(const std::string& key) const { return find(key) != nullptr; }
  [[nodiscard]] const nlohmann::json* find(const std::string& key) const;  // null where absent
  [[nodiscard]] const nlohmann::json* raw(const std::string& key) const;   // the same, but a null is there

  [[nodiscard]] Result<int64_t> integer(const std::string& key) const;
  [[nodiscard]] Result<int64_t> integer_or(const std::string& key, int64_t fallback) const;
  [[nodiscard]] Result<double> number(const std::string& key) const;  // finite
  [[nodiscard]] Result<double> number_or(const std::string& key, double fallback) const;
  [[nodiscard]] Result<bool> boolean_or(const std::string& key, bool fallback) const;
  [[nodiscard]] Result<std::string> text(const std::string& key) const;
  [[nodiscard]] Result<std::string> text_or(const std::string& key, const std::string& fallback) const;
  [[nodiscard]] Result<std::vector<std::string>> texts(const std::string& key) const;  // absent: empty
  [[nodiscard]] Result<std::vector<int64_t>> integers(const std::string& key) const;   // absent: empty
  [[nodiscard]] Result<std::vector<double>> numbers(const std::string& key) const;     // finite

 private:
  const nlohmann::json* object_;
};

}  // namespace graft::formats
