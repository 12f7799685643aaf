#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/gguf.h"
#include "formats/model_spec.h"

// What a GGUF file says about the model in it, in Hugging Face's terms.
namespace graft::formats {

// From the metadata and the presence of tensors, for "general.architecture" llama and the families of gguf_families.h.
// Llama 3's rope scaling, which GGUF stores as a tensor of divisors, is recovered and checked against that tensor.
Result<ModelSpec> spec_from_gguf(const GgufFile& file);

// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight". Nothing for a name that is no llama weight.
std::optional<std::string> hf_name_of_gguf(std::string_view name);
// The way back.
std::optional<std::string> gguf_name_of_hf(std::string_view name);

// The divisors of the rotary frequencies that Llama 3's rope scaling comes to (as transformers computes it).
std::vector<double> llama3_rope_divisors(const RopeSpec& rope, int64_t head_dim);

// A tokenizer.json that behaves as the one Hugging Face ships for these models: byte-level BPE
// ("tokenizer.ggml.model" gpt2) with the pre-tokenizer that "tokenizer.ggml.pre" names, or SentencePiece's BPE (llama),
// whose merges are derived from the scores.
Result<std::string> tokenizer_json_from_gguf(const GgufMetadata& metadata);

}  // namespace graft::formats
