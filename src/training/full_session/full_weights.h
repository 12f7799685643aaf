#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"
#include "model/weights.h"

namespace graft::training {

// A matrix among the packed weights, or a norm's vector among the vectors (n = 1).
struct FullParameter {
  std::string name;    // Hugging Face's: "model.layers.3.mlp.up_proj.weight"
  int64_t offset = 0;  // in elements
  int64_t n = 0, k = 0;

  [[nodiscard]] int64_t parameters() const { return n * k; }
};

// A model's weights in memory of their own, to be changed: matrices in the kernels' packed form, one behind the other,
// and vectors. In bfloat16 models vectors are float32 that hold bfloat16 values, so that the model that is saved is the
// one that was trained.
class FullWeights {
 public:
  // Errors: unsupported for quantised weights.
  static Result<FullWeights> copy_of(const model::Weights& base, const formats::ModelSpec& spec);

  // The same memory as a decoder reads it: changes show.
  [[nodiscard]] const model::Weights& weights() const { return weights_; }

  [[nodiscard]] const std::vector<FullParameter>& matrices() const { return matrices_; }
  [[nodiscard]] const std::vector<FullParameter>& vectors() const { return vectors_; }
  [[nodiscard]] at::Tensor& packed() { return packed_; }         // [elements], float32 or bfloat16; padding is zero
  [[nodiscard]] at::Tensor& vector_values() { return values_; }  // [elements] float32

  // Places in matrices() and vectors().
  [[nodiscard]] static size_t embedding() { return 0; }
  [[nodiscard]] size_t lm_head() const { return tied_ ? embedding() : matrices_.size() - 1; }
  [[nodiscard]] static size_t matrix(int64_t layer, model::Linear which, int64_t part);
  [[nodiscard]] static size_t norm(int64_t layer, bool of_mlp) { return static_cast<size_t>(2 * layer + of_mlp); }
  [[nodiscard]] size_t final_norm() const { return vectors_.size() - 1; }

  // Row-major float32 of a weight by its name.
  [[nodiscard]] Result<std::vector<float>> read(const std::string& name) const;

 private:
  void lay_out(const formats::ModelSpec& spec);
  void copy(const model::Weights& base);
  void copy_matrices(const model::Weights& base);

  bool tied_ = false;
  int64_t elements_ = 0;  // of all matrices, packed
  std::vector<FullParameter> matrices_, vectors_;
  at::Tensor packed_, values_;
  model::Weights weights_;
};

}  // namespace graft::training
