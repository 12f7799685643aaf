#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/gguf_writer.h"
#include "formats/model_export.h"
#include "formats/model_spec.h"

// What the two exports are made of.
namespace graft::formats {

// One weight as float32 from the options' reader or the source; checked for its size and for NaN and infinity.
Result<std::vector<float>> read_for_export(const ModelSource& source, const ExportOptions& options,
                                           const WeightShape& weight);

// F32, F16 or BF16; unsupported for the types that only GGUF has.
Result<DType> safetensors_dtype(ExportType type);

// A conflict where something is in the directory's place; said before the work rather than after it.
Status check_vacant(const std::filesystem::path& directory);

// The kind of a tensor by its GGUF name, as export_gguf says.
DType gguf_dtype_of(ExportType type, std::string_view gguf_name, const std::vector<int64_t>& shape,
                    const ModelSpec& spec);

// The metadata "tokenizer.*": vocabulary, merges or scores, kinds of tokens, special ids, chat template.
Status add_gguf_tokenizer(const ModelSource& source, GgufFields& fields);

// config.json, tokenizer_config.json and the rest of a model that has none, by name.
struct TextFile {
  std::string name;
  std::string content;
};
std::string generation_config_json(const ModelSpec& spec);  // the special ids alone
Result<std::vector<TextFile>> make_hf_text_files(const ModelSource& source, ExportType type);

}  // namespace graft::formats
