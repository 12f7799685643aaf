#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "text/jinja/evaluator.h"

namespace graft::text::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // one level's worth
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

// json.dumps(); strings stay marked.
MarkedText to_json(Evaluator& evaluator, const Value& value, const JsonStyle& style);

// `marked`: strings, and keys of objects, come from a user.
Value from_json(const nlohmann::ordered_json& json, bool marked);

}  // namespace graft::text::jinja
