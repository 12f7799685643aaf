#pragma once

#include <cstdint>

#include "ops/cpu/gemm.h"

// Quantised weights W [n, k]: 8 bits with a scale for groups of 64 along k of one row, or 4 bits with a scale and a
// minimum for groups of 32. Activations are quantised to 8 bits on the way in, in the same groups, so that products are
// integers; each group's sum is scaled and added as float32. Torch-free.
//
// 16 rows make a panel, a panel is records along k, a group each, zero-padded:
//   kInt8: bytes [16 steps][16 rows][4 k], value + 128; scales [16 rows] float32
//          w = q * scale, q in [-127, 127]: 8.5 bits a weight
//   kInt4: bytes [4 pairs][16 rows][4 k], of step 2 * pair in the low half, of 2 * pair + 1 in the high half;
//          scales [16 rows], minima [16 rows] float16
//          w = q * scale + minimum, q in [0, 15]: 5 bits a weight
namespace graft::ops::cpu {

inline constexpr int64_t kInt8Record = kInt8Group * kPanel + kPanel * 4;
inline constexpr int64_t kInt4Record = kInt4Group * kPanel / 2 + 2 * kPanel * 2;

// Groups along k, padding included.
constexpr int64_t quant_groups(WeightFormat format, int64_t k) {
  return (k + quant_group(format) - 1) / quant_group(format);
}
constexpr int64_t quant_panel_bytes(WeightFormat format, int64_t k) {
  return quant_groups(format, k) * (format == WeightFormat::kInt8 ? kInt8Record : kInt4Record);
}
constexpr int64_t quant_bytes(WeightFormat format, int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * quant_panel_bytes(format, k);
}

// Row-major float32 [n, k], finite -> quantised panels. Groups that lie on a 4-bit grid with float16 scale and minimum,
// as those of a Q4_0 or Q4_1 file do, keep their values under kInt4; others get the scale and minimum of least squared
// error among those tried.
void quantise_weights(WeightFormat format, const float* w, int64_t n, int64_t k, void* packed);
// Row `row` as float32 -> out [k].
void dequantise_row(WeightFormat format, const void* packed, int64_t k, int64_t row, float* out);

// What product() calls for parts of a quantised format. T is the type of the activations and of the grafts.
template <class T>
void quant_product(const ProductArgs& args);

}  // namespace graft::ops::cpu
