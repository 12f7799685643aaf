#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace graft::ops {

// rms_norm() whose weight is trained: the same bits. The backward pass calls `on_gradient` with the gradient of the
// weight, [hidden] float32, summed over rows in an order that does not depend on threads, when it has computed that of
// x: from then on the weight may change.
at::Tensor trainable_rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType out,
                              std::function<void(const at::Tensor& gradient)> on_gradient);

}  // namespace graft::ops
