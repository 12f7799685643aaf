#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace graft::grammar {

// What each token adds to a text, in its middle, byte by byte: half a character stays half a character. Empty for
// special tokens and for ids that have none.
std::vector<std::string> token_bytes(const text::Tokenizer& tokenizer);

}  // namespace graft::grammar
