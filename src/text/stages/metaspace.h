#pragma once

#include <string>

#include "base/result.h"
#include "text/stages/json_fields.h"

namespace graft::text {

// The keys of Metaspace, which is a pre-tokenizer and a decoder: SentencePiece's way to write spaces.
struct MetaspaceOptions {
  enum class Prepend { kFirst, kNever, kAlways };
  std::string replacement;  // one character
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};

Result<MetaspaceOptions> read_metaspace(JsonFields& fields);

// The one character that a key holds.
Result<std::string> read_character(JsonFields& fields, const char* key);

}  // namespace graft::text
