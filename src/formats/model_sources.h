#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_source.h"
#include "formats/tensor.h"

// The kinds of source behind ModelSource::open, and what they share.
namespace graft::formats {

Result<std::unique_ptr<ModelSource>> open_hf_source(const std::filesystem::path& directory);
Result<std::unique_ptr<ModelSource>> open_gguf_source(const std::filesystem::path& file);

// `find` returns the file's tensor for a Hugging Face name, or null. Every weight must be there in its shape.
Status check_weights(const ModelSpec& spec, const std::function<const TensorView*(const std::string&)>& find);

// float32 values, all finite.
Result<std::vector<float>> read_weight(const TensorView& view);

}  // namespace graft::formats
