#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"
#include "model/projections.h"

namespace graft::model {

enum class WeightDType { kFloat32, kBFloat16 };
const char* weight_dtype_name(WeightDType dtype);  // "float32", "bfloat16"

// A tensor of the source in its Hugging Face name ("model.embed_tokens.weight"), as row-major float32.
using ReadTensor = std::function<Result<std::vector<float>>(const std::string& name)>;

// One tensor of a prepared file: its name there, where it comes from, its shape.
struct PreparedTensor {
  std::string name;
  std::string source;
  int64_t n = 0;  // rows; 1 for a norm
  int64_t k = 0;
  bool packed = true;  // else plain float32 [k]
};
std::vector<PreparedTensor> prepared_tensors(const formats::ModelSpec& spec);

// The sizes that a prepared file was made for, as it records them.
std::string shape_summary(const formats::ModelSpec& spec);

// Writes the kernels' form of a model's weights, one tensor at a time, atomically. Weights that are not finite are
// refused by name.
Status prepare_weights(const formats::ModelSpec& spec, const ReadTensor& read, WeightDType dtype,
                       const std::filesystem::path& file);

}  // namespace graft::model
