#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace graft::formats {

// How a byte-level BPE of a GGUF file splits text before the merges ("tokenizer.ggml.pre"), as stages of a
// tokenizer.json, and what it does beside.
struct GgufByteLevel {
  nlohmann::ordered_json normalizer;  // may be null
  nlohmann::ordered_json stages;
  bool ignore_merges = false;  // a piece that is a token as a whole is taken as it is
  bool add_bos = false;        // where the file does not say
};

// An error lists the names that are known. "default" is llama.cpp's meaning of it.
Result<GgufByteLevel> gguf_byte_level(std::string_view name);

}  // namespace graft::formats
