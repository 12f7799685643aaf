#pragma once

#include <memory>

#include "base/result.h"
#include "text/stages/json_fields.h"
#include "text/stages/model.h"

namespace graft::text {

// One maker per type. `fields` reads the object "model", without the large lists, which are in `file`.
Result<std::unique_ptr<Model>> make_bpe(JsonFields& fields, TokenizerFile& file);
Result<std::unique_ptr<Model>> make_unigram(JsonFields& fields, TokenizerFile& file);
Result<std::unique_ptr<Model>> make_word_level(JsonFields& fields, TokenizerFile& file);
Result<std::unique_ptr<Model>> make_word_piece(JsonFields& fields, TokenizerFile& file);

}  // namespace graft::text
