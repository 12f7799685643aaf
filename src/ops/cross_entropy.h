#pragma once

#include <span>

#include "ops/weight.h"

namespace graft::ops {

struct CrossEntropy {
  at::Tensor loss;            // [] float32, differentiable: scale * sum of the rows' losses
  double loss_sum = 0;        // unscaled, accumulated in double
  std::vector<float> losses;  // by row: -log softmax(hidden W^T)[label]
};

// Output projection and cross-entropy in one, a chunk of rows at a time, so that [rows, vocab] never exists.
//   hidden [rows, in] of the weight's dtype, labels [rows] in [0, vocab)
// When hidden requires grad its gradient is computed on the way and kept: [rows, in].
CrossEntropy linear_cross_entropy(const at::Tensor& hidden, const LinearWeight& weight, std::span<const int32_t> labels,
                                  double scale);

}  // namespace graft::ops
