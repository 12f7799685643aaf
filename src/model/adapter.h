#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "formats/model_spec.h"
#include "model/projections.h"
#include "ops/weight.h"

namespace graft::model {

// Whether each target has a magnitude vector as well (arXiv:2402.09353).
enum class AdapterKind { kLora, kDora };

// Where an adapter acts, and how strongly: y += scale * (x A^T) B^T.
struct AdapterTarget {
  int64_t layer = 0;
  Projection projection = Projection::kQ;
  int64_t rank = 0;
  float scale = 1.0F;
};

// The low-rank factors of one adapter over a model, as float32 masters in one flat buffer and packed for the kernels.
// The kernels see what the masters round to: a trained adapter and the same one loaded to serve are equal bit for bit.
class Adapter {
 public:
  // Factors are zero until set. Targets: any order, each (layer, projection) once. `extra` more floats, for what is
  // trained beside the factors, lie at the end of the masters, and of their gradients.
  Adapter(const formats::ModelSpec& spec, std::vector<AdapterTarget> targets, at::ScalarType dtype, bool trainable,
          AdapterKind kind = AdapterKind::kLora, int64_t extra = 0);

  [[nodiscard]] const formats::ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const std::vector<AdapterTarget>& targets() const { return targets_; }

  // Masters of a target, row-major float32: A [rank, in]; B transposed, [rank, out]. Call repack() after a change.
  [[nodiscard]] std::span<float> a(size_t target);
  [[nodiscard]] std::span<float> b_transposed(size_t target);
  // [out] of a DoRA, else empty. Where it, A or B has changed, set_norms() follows.
  [[nodiscard]] std::span<float> magnitude(size_t target);
  [[nodiscard]] std::span<float> extra();
  [[nodiscard]] std::span<float> extra_gradient();  // of a trainable one
  // ||W + scale B A|| of each row of a DoRA's target, [out]: what its magnitudes are divided by (see model/dora.h).
  void set_norms(size_t target, std::span<const float> norms);
  [[nodiscard]] AdapterKind kind() const { return kind_; }
  void repack();
  // Frees the masters of an adapter that will not change again.
  void drop_masters();

  // All masters and their gradients, [elements]. Padding that makes ranks even is zero in both, and stays so.
  [[nodiscard]] at::Tensor& masters() { return masters_; }
  [[nodiscard]] at::Tensor& gradients() { return gradients_; }

  // Dropout of the input of every A, and the stream that its masks come from. Training only.
  void set_dropout(float p, uint64_t stream);

  [[nodiscard]] const ops::LoraLinear& linear(int64_t layer, Linear which) const {
    return layers_[static_cast<size_t>(layer)][which];
  }
  [[nodiscard]] int64_t bytes() const;       // of the packed form and the masters
  [[nodiscard]] int64_t parameters() const;  // of the factors, without padding

 private:
  struct Place {
    int64_t a = 0;       // offset in masters of this part's rows of A
    int64_t bt = 0;      // and of its B transposed
    int64_t m = 0;       // and of its magnitudes
    int64_t scales = 0;  // in scales_: column scales, then inverse norms
  };
  void lay_out();
  template <class T>
  void repack_as();

  formats::ModelSpec spec_;
  std::vector<AdapterTarget> targets_;
  std::vector<Place> places_;
  at::ScalarType dtype_;
  bool trainable_;
  AdapterKind kind_;
  int64_t extra_;
  at::Tensor masters_, gradients_;
  std::vector<float> scales_;  // of a DoRA
  at::Tensor packed_;          // bytes
  std::vector<std::array<ops::LoraLinear, kLinears>> layers_;
};

}  // namespace graft::model
