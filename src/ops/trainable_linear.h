#pragma once

#include <functional>

#include "ops/weight.h"

namespace graft::ops {

// Given what a weight's gradient dy^T x is made of: x [tokens, in], dy [tokens, out] of the weight's dtype.
using OnLinearGradient = std::function<void(const at::Tensor& x, const at::Tensor& dy)>;

// linear() without adapters over a dense weight that is trained: the same bits, differentiable by x and residual. The
// backward pass calls `on_gradient` when it has computed dx: nothing reads the weight any more, so it may change, and
// the gradient need never exist as a whole (weight_gradient.h).
//   known  undefined, or [tokens, out] of the result's dtype: the result, where the caller has it; returned as it is
at::Tensor trainable_linear(const at::Tensor& x, const LinearWeight& weight, OnLinearGradient on_gradient,
                            const at::Tensor& residual = {}, const at::Tensor& known = {});

}  // namespace graft::ops
