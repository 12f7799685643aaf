#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/result.h"
#include "formats/tensor.h"

namespace graft::formats {

// Every element as float32, row-major; F64 is rounded. out.size() must be view.elements(). Integer kinds are refused.
// Block kinds as ggml defines them, the same bits as its Python package gguf computes. Per 32 elements (low nibbles are
// the first 16): Q4_0 {f16 d; 16 x 2 nibbles}: d * (q - 8); Q4_1 {f16 d, m}: d * q + m; Q5_0 and Q5_1 {.., u32 fifth
// bits}; Q8_0 {f16 d; 32 x i8}: d * q; IQ4_NL: d * kIq4Values[q]. Per 256 elements, in parts of 16 or 32 that have
// scales and minima of their own: Q2_K, Q4_K, Q5_K: d * scale * q - m * minimum; Q3_K, Q6_K: d * scale * q; IQ4_XS.
Status to_float32(const TensorView& view, std::span<float> out);

// IEEE half precision, subnormals and infinities included.
float half_to_float(uint16_t half);

// To nearest, ties to even; from 65520 on it is infinity. NaN stays a (quiet) NaN.
uint16_t float_to_half(float value);

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
