#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "text/stages/json_fields.h"
#include "text/stages/pre_tokenizer.h"

namespace graft::text {

// One maker per type; each reads its own keys.
Result<std::unique_ptr<PreTokenizer>> make_byte_level(JsonFields& fields);
Result<std::unique_ptr<PreTokenizer>> make_digits(JsonFields& fields);
Result<std::unique_ptr<PreTokenizer>> make_metaspace(JsonFields& fields);
Result<std::unique_ptr<PreTokenizer>> make_split(JsonFields& fields);
// Those that go by the class of every character; nullptr where none is called that.
Result<std::unique_ptr<PreTokenizer>> make_class_split(std::string_view type, JsonFields& fields);

}  // namespace graft::text
