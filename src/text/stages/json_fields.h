#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace graft::text {

// Reads one object of a tokenizer.json strictly: wrong types, missing keys and keys that nobody asked for are errors
// that name the place, such as "pre_tokenizer.pretokenizers[0].behavior".
class JsonFields {
 public:
  // The object must outlive the reader.
  static Result<JsonFields> of(const nlohmann::json& value, std::string path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path_of(std::string_view key) const;

  Result<std::string> string(const char* key);
  Result<std::optional<std::string>> optional_string(const char* key);  // nothing where absent or null
  Result<bool> boolean(const char* key, std::optional<bool> fallback);  // no fallback: the key must be there
  Result<const nlohmann::json*> array(const char* key);
  Result<const nlohmann::json*> object(const char* key);
  const nlohmann::json* any(const char* key);  // nullptr where absent or null
  void ignore(const char* key) { any(key); }

  // An error where the object holds a key that was never asked for.
  [[nodiscard]] Status done() const;

 private:
  JsonFields(const nlohmann::json& object, std::string path) : object_(&object), path_(std::move(path)) {}
  Result<const nlohmann::json*> typed(const char* key, bool (nlohmann::json::*is_type)() const noexcept,
                                      const char* type_name);
  const nlohmann::json* object_;
  std::string path_;
  std::vector<std::string> known_;
};

// An id as tokenizer files write them: a whole number from 0 up to 2^22. Real vocabularies stay below 300,000, and
// tables are as long as the largest id.
Result<int32_t> token_id_from(const nlohmann::json& value, const std::string& path);

// "PATH: type 'X' is not supported" with what would be.
Error unsupported_type(const std::string& path, std::string_view type, const std::vector<std::string>& supported);

}  // namespace graft::text
