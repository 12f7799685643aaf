#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace graft::ops {

// Each element is zeroed with probability p, the rest scaled by 1 / (1 - p). The mask is a function of the stream and
// the element's index alone, so the same call draws the same mask again: nothing is saved for the backward pass.
//   x [rows, width], contiguous rows -> same shape and dtype. Not recorded by autograd.
at::Tensor dropout(const at::Tensor& x, double p, uint64_t stream);

}  // namespace graft::ops
