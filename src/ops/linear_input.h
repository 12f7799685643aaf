#pragma once

#include <torch/custom_class.h>

#include "ops/weight.h"

namespace graft::ops {

struct InputBackward {
  at::Tensor x;         // the value, made again
  at::Tensor gradient;  // by the source
};

// What a projection reads, as a function of what is kept for the backward pass: cheap to make again, so that only its
// source stays in memory between the two passes.
class LinearInput : public torch::CustomClassHolder {
 public:
  [[nodiscard]] virtual at::Tensor value(const at::Tensor& source) const = 0;
  // dx: the gradient by the value. add: what reaches the source on other ways, float32; undefined where nothing does.
  // Only a source that is handed on has any.
  [[nodiscard]] virtual InputBackward backward(const at::Tensor& source, const at::Tensor& dx,
                                               const at::Tensor& add) const = 0;
  // Whether the projection hands its source on, so that gradients meet in one pass.
  [[nodiscard]] virtual bool hands_on() const { return false; }
  [[nodiscard]] virtual bool is_identity() const { return false; }
};

c10::intrusive_ptr<LinearInput> plain_input();  // the source itself
c10::intrusive_ptr<LinearInput> normed_input(const at::Tensor& norm, double eps, at::ScalarType dtype);  // rms_norm
c10::intrusive_ptr<LinearInput> silu_input();                                                            // silu_mul

}  // namespace graft::ops
