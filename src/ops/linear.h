#pragma once

#include <span>

#include "ops/weight.h"

namespace graft::ops {

// Every projection of the model: y = x W^T + scale (x A^T) B^T of each row's adapter (+ residual).
//
//   x        [tokens, in], the weight's dtype
//   segments rows sorted by adapter, disjoint, ascending
//   residual undefined, or [tokens, out] float32
//   returns  [tokens, out]: the weight's dtype without a residual, float32 with one
//
// Where an adapter has column scales (DoRA), its rows' y is multiplied by them before the residual joins.
//
// Where the weight is quantised, x is too, to 8 bits in groups of 32 along the row; adapters and residual are not.
//
// A row's result depends on the row, the weight and its adapter alone, bit for bit. Differentiable by x and residual;
// gradients of A and B are added to the buffers that the LoraLinear names (never formed: the gradient of W). Quantised
// weights pass on the gradient of the values that they stand for, as if activations had not been rounded (QLoRA:
// Dettmers et al., 2023).
// LoRA: Hu et al., 2021.
at::Tensor linear(const at::Tensor& x, const LinearWeight& weight, std::span<const LoraSegment> segments = {},
                  const at::Tensor& residual = {});

// linear() of rms_norm(x, norm), x [tokens, in] float32, and of silu_mul(gate_up), gate_up [tokens, 2 * in]. The
// backward pass makes the input again instead of keeping it.
struct NormedLinear {
  at::Tensor y;  // [tokens, out]
  at::Tensor x;  // the same x: what goes on with this one adds its gradient in the same pass
};
NormedLinear normed_linear(const at::Tensor& x, const at::Tensor& norm, double eps, const LinearWeight& weight,
                           std::span<const LoraSegment> segments = {});
at::Tensor silu_linear(const at::Tensor& gate_up, const LinearWeight& weight,
                       std::span<const LoraSegment> segments = {}, const at::Tensor& residual = {});

// x W^T as float32 into the first rows of `out` [>= tokens, out]: for logits, whose memory is kept between steps.
void project_into(const at::Tensor& x, const LinearWeight& weight, at::Tensor& out);

// The same from ATen's operators: the definition, the oracle of the tests, the way on other devices.
struct DenseLora {
  int64_t row_begin = 0, row_end = 0;
  int64_t column = 0;  // of the output, where the part begins
  at::Tensor a, b;     // [rank, in], [n, rank]
  double scale = 1.0;
};
at::Tensor linear_composed(const at::Tensor& x, const at::Tensor& w, std::span<const DenseLora> loras,
                           const at::Tensor& residual = {});

}  // namespace graft::ops
