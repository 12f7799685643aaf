#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace graft::ops::cpu {

// IEEE half precision. Storage only: arithmetic happens in float32.
struct f16 {
  uint16_t bits;
};
static_assert(sizeof(f16) == 2);

inline constexpr float kMaxF16 = 65504.0F;

// Finite values only.
inline float to_float(f16 value) {
  // The exponent's bias differs by 112; the multiplication also makes denormals right.
  const float magnitude = std::bit_cast<float>(static_cast<uint32_t>(value.bits & 0x7fffU) << 13) * 0x1p112F;
  return (value.bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

// Round to nearest, ties to even; beyond the range: the largest finite number.
inline f16 to_f16(float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000U : 0U);
  const float magnitude = std::fmin(std::fabs(value), kMaxF16);
  if (magnitude < 0x1p-14F) {  // denormal: units of 2^-24
    return {static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(magnitude * 0x1p24F)))};
  }
  const auto bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = bits + 0xfffU + ((bits >> 13) & 1U);
  return {static_cast<uint16_t>(sign | static_cast<uint16_t>((rounded - (112U << 23)) >> 13))};
}

}  // namespace graft::ops::cpu
