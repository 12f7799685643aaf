#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/result.h"
#include "formats/tensor.h"

namespace graft::formats {

// Every element as float32, row-major; F64 is rounded. out.size() must be view.elements(). Integer kinds are refused.
// Block kinds as ggml defines them, per 32 elements: Q4_0 {f16 d; 16 x 2 nibbles}: d * (q - 8); Q4_1 {f16 d, m}:
// d * q + m; Q8_0 {f16 d; 32 x i8}: d * q. Low nibbles are the first 16 elements.
Status to_float32(const TensorView& view, std::span<float> out);

// IEEE half precision, subnormals and infinities included.
float half_to_float(uint16_t half);

inline float bf16_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// To nearest, ties to even, as torch and the AVX-512 instruction do. NaN stays a (quiet) NaN.
inline uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<uint16_t>((bits >> 16) | 0x0040U);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

void to_bf16(std::span<const float> values, std::span<uint16_t> out);  // sizes must be equal

// The index of the first NaN or infinity, or -1.
int64_t find_non_finite(std::span<const float> values);

}  // namespace graft::formats
