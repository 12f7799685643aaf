#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "formats/tensor.h"

namespace graft::formats {

// Float32 values as F32, F16, BF16, Q8_0, Q5_0, Q4_K, Q5_K or Q6_K, the inverse of to_float32. `out` has the bytes of
// as many elements; a block-quantised kind needs whole blocks. Uses all cores for large inputs; the result does not
// depend on how many there are.
//
// F16 and BF16 round to nearest even; a finite value that would become infinite is an error. Q8_0 is bit for bit what
// ggml writes. The others search for the scales with the least squared error, each block by itself.
Status quantise(std::span<const float> values, DType dtype, std::span<std::byte> out);

// Whether quantise can write this kind.
bool can_quantise(DType dtype);

}  // namespace graft::formats
