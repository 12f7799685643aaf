#pragma once

#include <ATen/core/Tensor.h>

namespace graft::ops {

// y = silu(gate) * up, where gate and up lie beside each other.
//   gate_up [tokens, 2 * width] -> [tokens, width], same dtype. Differentiable. SwiGLU: Shazeer, 2020.
at::Tensor silu_mul(const at::Tensor& gate_up);
at::Tensor silu_mul_composed(const at::Tensor& gate_up);

}  // namespace graft::ops
