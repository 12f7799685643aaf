#pragma once

#include <torch/custom_class.h>

#include <vector>

#include "ops/weight.h"

namespace graft::ops {

// What the backward pass needs of the forward pass beside x.
struct LinearSaved {
  at::Tensor t;         // scale * x A^T of each row's adapter, [tokens, rank]; undefined without adapters
  at::Tensor unscaled;  // the output before its column scales; undefined without them
};

struct LinearGradients {
  at::Tensor dx;  // [tokens, in]
  at::Tensor dy;  // of the weight's dtype, column scales applied
  at::Tensor dt;  // by t
};

// A projection with its rows' adapters, without autograd: the forward pass and the two halves of the backward pass.
struct LinearCall : torch::CustomClassHolder {
  const LinearWeight* weight = nullptr;
  std::vector<LoraSegment> segments;

  // `saved`: filled for the backward pass; may be nullptr.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual, LinearSaved* saved) const;
  // The gradient by x, and what accumulate() goes on with. x is not needed yet, so it may be made again in between.
  LinearGradients backward(const at::Tensor& dy, const LinearSaved& saved) const;
  // Adds the gradients of A and B to the adapters' buffers.
  void accumulate(const at::Tensor& x, const LinearSaved& saved, const LinearGradients& gradients) const;
};

}  // namespace graft::ops
