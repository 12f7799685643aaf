#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft::formats {

// How a tensor's bytes are stored. The block-quantised kinds are GGUF's; the 8-bit floats are those of "FP8 Formats for
// Deep Learning" (arXiv:2209.05433), E4M3 without infinities.
enum class DType {
  kF64,
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kIQ4NL,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIQ4XS,
};

std::string_view dtype_name(DType dtype);                     // "F32", "BF16", "Q4_1", "Q4_K", ...
std::optional<DType> dtype_from_name(std::string_view name);  // safetensors' spelling

// Elements in one storage block, and bytes in it: {1, 4} for F32, {32, 20} for Q4_1.
struct DTypeLayout {
  int64_t block_elements;
  int64_t block_bytes;
};
DTypeLayout dtype_layout(DType dtype);

// A tensor inside a mapped file. Does not own its bytes: the file object does.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // row-major, outermost first
  std::span<const std::byte> data;

  [[nodiscard]] int64_t elements() const;
};

}  // namespace graft::formats
