#pragma once

#include <span>

#include "ops/weight.h"

namespace graft::ops {

// Rows of a packed table [vocab, hidden], widened: -> [tokens, hidden] float32.
at::Tensor embedding(std::span<const int32_t> tokens, const LinearWeight& table);

}  // namespace graft::ops
