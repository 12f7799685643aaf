#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"
#include "model/projections.h"
#include "ops/weight.h"

namespace graft::model {

// How a prepared file stores the projections. kInt8 and kInt4 compute in bfloat16 over quantised weights (see
// ops/cpu/quant.h); under kInt4 the embedding and the output layer have 8 bits, which both need more than the rest.
enum class WeightDType { kFloat32, kBFloat16, kInt8, kInt4 };
const char* weight_dtype_name(WeightDType dtype);  // "float32", "bfloat16", "int8", "int4"
std::optional<WeightDType> weight_dtype_from_name(std::string_view name);

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

// A weight of `tensor`'s shape without parts: its dtype and format under `dtype`.
ops::LinearWeight stored_as(const PreparedTensor& tensor, WeightDType dtype);

// The sizes that a prepared file was made for, as it records them.
std::string shape_summary(const formats::ModelSpec& spec);

// Writes the kernels' form of a model's weights, one tensor at a time, atomically. Weights that are not finite are
// refused by name.
Status prepare_weights(const formats::ModelSpec& spec, const ReadTensor& read, WeightDType dtype,
                       const std::filesystem::path& file);

}  // namespace graft::model
