#pragma once

#include <memory>

#include "base/result.h"
#include "text/stages/json_fields.h"
#include "text/stages/pre_tokenizer.h"

namespace graft::text {

// One maker per type; each reads its own keys.
Result<std::unique_ptr<PreTokenizer>> make_byte_level(JsonFields& fields);
Result<std::unique_ptr<PreTokenizer>> make_digits(JsonFields& fields);
Result<std::unique_ptr<PreTokenizer>> make_split(JsonFields& fields);

}  // namespace graft::text
