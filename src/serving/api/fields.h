#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serving/api/api_error.h"
#include "serving/api/json_text.h"

namespace graft::serving::api {

// Reads the fields of one JSON object with their types checked. A missing field and an explicit null are the same. The
// first error is kept; after it everything reads as absent, so that callers check once at the end.
class Fields {
 public:
  // `prefix` stands before field names in messages: "parameters.".
  explicit Fields(const Json& object, std::string prefix = {});

  std::optional<std::string> text(const char* name);
  std::optional<double> number(const char* name);
  std::optional<int64_t> integer(const char* name, int64_t min = std::numeric_limits<int64_t>::min(),
                                 int64_t max = std::numeric_limits<int64_t>::max());
  std::optional<uint64_t> unsigned_integer(const char* name);
  bool flag(const char* name);  // false where absent
  std::optional<std::vector<std::string>> texts(const char* name);
  std::optional<std::vector<std::string>> text_or_texts(const char* name);  // "a" is ["a"]
  const Json* object(const char* name);
  const Json* array(const char* name);
  const Json* any(const char* name) const;  // nullptr where absent or null

  void fail(const std::string& name, const std::string& must);  // "`name` " + must
  [[nodiscard]] const std::optional<ApiError>& error() const { return error_; }

 private:
  const Json* find(const char* name) const;
  void wrong_type(const char* name, std::string_view expected, const Json& found);

  const Json* object_;
  std::string prefix_;
  std::optional<ApiError> error_;
};

std::string_view json_type(const Json& value);  // "a string", "null", ...

// The body as a JSON object: strict, and bounded in depth.
ApiResult<Json> parse_body(std::string_view body);

}  // namespace graft::serving::api
