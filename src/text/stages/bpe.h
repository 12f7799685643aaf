#pragma once

#include <memory>

#include "base/result.h"
#include "text/stages/json_fields.h"
#include "text/stages/model.h"

namespace graft::text {

// The model of type BPE. `fields` reads the object "model".
Result<std::unique_ptr<Model>> make_bpe(JsonFields& fields, TokenizerFile& file);

}  // namespace graft::text
