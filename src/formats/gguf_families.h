#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/gguf.h"
#include "formats/model_spec.h"

// What GGUF files of the families beside Llama say, as llama.cpp's converter writes them: its metadata keys stand for
// keys of Hugging Face's config.json, which that family's row of hf_families.cc then reads. So both files of one model
// give the same ModelSpec.
namespace graft::formats {

// "qwen2" -> "Qwen2ForCausalLM"; empty where there is no such row. A llama with experts is Mixtral.
std::string_view hf_architecture_of_gguf(std::string_view architecture, bool has_experts);
std::vector<std::string> gguf_family_names();

// Everything but the token ids. Errors name the metadata key, or the one of config.json that it stands for.
Result<ModelSpec> spec_of_gguf_family(const GgufFile& file, const std::string& architecture);

// Metadata numbers are float32; the shortest decimal is what was meant: 1e-5, not 9.999999747378752e-06.
double shortest_decimal(double value);

}  // namespace graft::formats
