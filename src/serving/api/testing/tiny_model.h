#pragma once

#include <memory>
#include <string>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace graft::serving::api::testing {

// A byte-level BPE tokenizer with a few merges and ChatML's special tokens <|endoftext|>, <|im_start|>, <|im_end|>.
std::unique_ptr<text::Tokenizer> tiny_tokenizer();

// ChatML. A message with the role "forbidden" raises an exception.
std::unique_ptr<text::ChatTemplate> tiny_template();

}  // namespace graft::serving::api::testing
