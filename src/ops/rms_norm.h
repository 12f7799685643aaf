#pragma once

#include <ATen/core/Tensor.h>

namespace graft::ops {

// y = x / sqrt(mean(x^2) + eps) * weight, by row.
//   x [tokens, hidden] float32, weight [hidden] float32 -> [tokens, hidden] of `out`
// Differentiable by x. Zhang and Sennrich, 2019.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out);
at::Tensor rms_norm_composed(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out);

}  // namespace graft::ops
