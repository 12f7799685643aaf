#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/model_source.h"
#include "formats/tensor.h"

// A model written out for other programs.
namespace graft::formats {

// What most weights are written as. kQ8_0 and kQ4K exist in GGUF only.
enum class ExportType { kF32, kF16, kBF16, kQ8_0, kQ4K };

std::string_view export_type_name(ExportType type);  // "f32", "f16", "bf16", "q8_0", "q4_k"
std::optional<ExportType> export_type_from_name(std::string_view name);

struct ExportOptions {
  ExportType type = ExportType::kBF16;

  // Other values for the weights of the source, such as merged ones, as ModelSource::read returns them. By default the
  // source's own.
  std::function<Result<std::vector<float>>(const std::string& name)> read;

  // export_safetensors: a file that would become larger is split. One tensor alone may be larger.
  int64_t max_shard_bytes = 5'000'000'000;
};

struct ExportSummary {
  std::vector<std::filesystem::path> files;   // the weights
  std::map<std::string, int64_t> tensors_as;  // "Q4_K" -> how many tensors
  int64_t weight_bytes = 0;
};

// A .gguf file that llama.cpp loads: names, row order of Q and K, rope factors, tokenizer and template as its own
// converter writes them. Norms and biases are F32. With kQ4K single tensors are of other kinds, by llama-quantize's
// rules for Q4_K_M: Q6_K for the output and for parts of attn_v and ffn_down; where a row is no multiple of 256, Q5_0
// for Q4_K and Q8_0 for Q6_K; where it is none of 32, F16. Families: those with model_type llama and mistral. The
// tokenizer must be one that GGUF can name: byte-level BPE with a known pre-tokenizer, or BPE with byte fallback
// (SentencePiece's).
//
// The file appears complete or not at all. Memory: one tensor at a time.
Result<ExportSummary> export_gguf(const ModelSource& source, const std::filesystem::path& file,
                                  const ExportOptions& options);

// A Hugging Face directory that transformers loads: config.json, generation_config.json, tokenizer.json,
// tokenizer_config.json, chat_template.jinja and the weights in model.safetensors, or in shards with
// model.safetensors.index.json. A source that is such a directory keeps its own text files, with the dtype changed in
// config.json; for a .gguf file they are made. The directory appears complete or not at all and must not exist, or be
// empty, before.
Result<ExportSummary> export_safetensors(const ModelSource& source, const std::filesystem::path& directory,
                                         const ExportOptions& options);

// An adapter as a directory for PEFT: adapter_config.json as it is, adapter_model.safetensors (from a .bin too) and, of
// what is there, README.md, config.yaml and certificate.json. `type`: f32, f16 or bf16; by default the factors keep
// their type and the file its bytes. A certificate vouches for those bytes, so it is left out where they change. The
// adapter must fit `base`. The directory appears complete or not at all and must not exist, or be empty, before.
Result<ExportSummary> export_peft(const std::filesystem::path& adapter, const ModelSpec& base,
                                  const std::filesystem::path& directory, std::optional<ExportType> type);

}  // namespace graft::formats
