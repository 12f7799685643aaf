#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace graft {

struct JsonLimits {
  size_t depth = 128;
  int64_t first_line = 1;  // of the text in its file, for errors
};

// Strict RFC 8259: invalid UTF-8, duplicate keys, nesting deeper than the limit and anything after the value are
// errors that name the line and the key. Nothing is thrown.
// The ordered kind keeps the keys' order but looks keys up linearly: for small objects only.
Result<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits = {});
Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, const JsonLimits& limits = {});

}  // namespace graft
