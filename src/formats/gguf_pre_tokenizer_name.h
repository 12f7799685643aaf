#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

// What a tokenizer.json does before its merges, in the terms of GGUF.
namespace graft::formats {

// "tokenizer.ggml.pre" of a byte-level tokenizer. An error where llama.cpp has no name for what it does.
Result<std::string> gguf_pre_tokenizer_name(const nlohmann::json& tokenizer);

// "tokenizer.ggml.add_space_prefix" of a SentencePiece-like one: whether a text gets a space in front.
Result<bool> sentence_piece_space_prefix(const nlohmann::json& tokenizer);

}  // namespace graft::formats
