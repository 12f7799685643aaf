#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace graft::ops {

// y = x / sqrt(mean(x^2) + eps) * weight, by row.
//   x [tokens, hidden] float32, weight [hidden] float32 -> [tokens, hidden] of `out`
// Differentiable by x. Zhang and Sennrich, 2019.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out);
at::Tensor rms_norm_composed(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out);

// rms_norm() whose weight is trained: the same bits. The backward pass calls `on_gradient` with the gradient of the
// weight, [hidden] float32, summed over rows in an order that does not depend on threads, when it has computed that of
// x: from then on the weight may change.
at::Tensor trainable_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out,
                              std::function<void(const at::Tensor& gradient)> on_gradient);

}  // namespace graft::ops
