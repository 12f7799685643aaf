#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "formats/tensor.h"

namespace graft::formats {

// Bytes of a tensor of this dtype and shape. Nothing where a size is negative, the product overflows, or the rows of a
// block-quantised kind are not whole blocks.
inline std::optional<int64_t> tensor_bytes(DType dtype, std::span<const int64_t> shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(elements, size, &elements)) return std::nullopt;
  }
  const DTypeLayout layout = dtype_layout(dtype);
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % layout.block_elements != 0) return std::nullopt;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / layout.block_elements, layout.block_bytes, &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace graft::formats
