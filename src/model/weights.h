#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"
#include "formats/tensor.h"
#include "model/projections.h"
#include "ops/weight.h"

namespace graft::formats {
class SafetensorsFile;
}

namespace graft::model {

struct LayerWeights {
  at::Tensor attention_norm, mlp_norm;  // [hidden] float32
  std::array<ops::LinearWeight, kLinears> linears;
};

// The weights of a model, mapped read-only from its prepared file: processes on a host share one copy. Those
// of a full fine-tune are in memory of their own.
struct Weights {
  at::ScalarType dtype = at::kFloat;
  ops::LinearWeight embedding;  // [vocab, hidden]
  ops::LinearWeight lm_head;    // [vocab, hidden]; the embedding's bytes where the model ties them
  at::Tensor final_norm;        // [hidden] float32
  std::vector<LayerWeights> layers;
  std::shared_ptr<const formats::SafetensorsFile> file;  // the prepared one; null where they are in memory
};

// The values of one projection's weight, [out, in] float32; of a quantised one those that its codes stand for.
at::Tensor dense_weight(const Weights& weights, int64_t layer, Projection projection);

// The layout's version is part of the prepared file's name: a changed layout is prepared anew.
inline constexpr const char* kLayoutVersion = "panel16-v2";

// Pages of mapped weights that were read no longer count as this process's memory; they come back when they are read.
void release_pages(const Weights& weights);

// The safetensors type that a prepared file declares for a packed tensor.
formats::DType stored_dtype(const ops::LinearWeight& weight);

// Maps a prepared file. Errors name the file and what is missing or of the wrong shape.
Result<Weights> open_prepared(const std::filesystem::path& file, const formats::ModelSpec& spec);

}  // namespace graft::model
