#include "formats/dequantise.h"

#include <array>
#include <cassert>
#include <cmath>
#include <limits>
#include <string>

#include "base/strings.h"
#include "formats/blocks.h"

namespace graft::formats {
namespace {

template <class T, class Convert>
void convert_each(std::span<const std::byte> data, std::span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = convert(load_value<T>(data.data() + i * sizeof(T)));
}

void unpack_blocks(const TensorView& view, std::span<float> out, UnpackBlock unpack) {
  const DTypeLayout layout = dtype_layout(view.dtype);
  const auto elements = static_cast<size_t>(layout.block_elements);
  const auto bytes = static_cast<size_t>(layout.block_bytes);
  for (size_t i = 0; i < out.size() / elements; ++i) unpack(view.data.data() + i * bytes, out.data() + i * elements);
}

// The upper byte of a half.
float e5m2_to_float(uint8_t bits) { return half_to_float(static_cast<uint16_t>(bits << 8)); }

float e4m3_to_float(uint8_t bits) {
  const int magnitude = bits & 0x7F;
  if (magnitude == 0x7F) return std::numeric_limits<float>::quiet_NaN();
  const int exponent = magnitude >> 3;
  const auto fraction = static_cast<float>(magnitude & 7);
  const float value = exponent == 0 ? fraction * 0x1p-9F : std::ldexp(8 + fraction, exponent - 10);
  return (bits & 0x80) != 0 ? -value : value;
}

}  // namespace

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
  const uint32_t magnitude = half & 0x7FFFU;
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | ((magnitude & 0x3FFU) << 13));
  if (magnitude >= 0x0400U) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000U));
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24F;
  return sign != 0 ? -subnormal : subnormal;
}

Status to_float32(const TensorView& view, std::span<float> out) {
  const DTypeLayout layout = dtype_layout(view.dtype);
  const auto elements = static_cast<size_t>(view.elements());
  if (out.size() != elements || view.data.size() != elements / static_cast<size_t>(layout.block_elements) *
                                                        static_cast<size_t>(layout.block_bytes)) {
    return internal_error("tensor '" + printable(view.name) + "': output or data is not of the size of its shape");
  }
  if (const UnpackBlock unpack = unpack_function(view.dtype); unpack != nullptr) {
    unpack_blocks(view, out, unpack);
    return {};
  }
  switch (view.dtype) {
    case DType::kF64:
      convert_each<double>(view.data, out, [](double value) { return static_cast<float>(value); });
      return {};
    case DType::kF32:
      if (!out.empty()) std::memcpy(out.data(), view.data.data(), view.data.size());
      return {};
    case DType::kF16:
      convert_each<uint16_t>(view.data, out, half_to_float);
      return {};
    case DType::kBF16:
      convert_each<uint16_t>(view.data, out, bf16_to_float);
      return {};
    case DType::kF8E4M3:
      convert_each<uint8_t>(view.data, out, e4m3_to_float);
      return {};
    case DType::kF8E5M2:
      convert_each<uint8_t>(view.data, out, e5m2_to_float);
      return {};
    default:
      return unsupported("tensor '" + printable(view.name) + "': " + std::string(dtype_name(view.dtype)) +
                         " values cannot be read as weights");
  }
}

uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
  const uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<uint16_t>(sign | 0x7E00U);
  if (magnitude >= 0x47800000U) return static_cast<uint16_t>(sign | 0x7C00U);  // 2^16 and more
  if (magnitude < 0x38800000U) {
    // Below the normal halves, adding 0.5 leaves the multiple of 2^-24 in the last bits, rounded by the addition.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F000000U));
  }
  const uint32_t rounded = magnitude + 0x0FFFU + ((magnitude >> 13) & 1U);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

void to_bf16(std::span<const float> values, std::span<uint16_t> out) {
  assert(values.size() == out.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = float_to_bf16(values[i]);
}

int64_t find_non_finite(std::span<const float> values) {
  // Whole stretches first: the test of exponent bits vectorises, the early return does not.
  constexpr size_t kStretch = 4096;
  for (size_t begin = 0; begin < values.size(); begin += kStretch) {
    const auto stretch = values.subspan(begin, std::min(kStretch, values.size() - begin));
    uint32_t bad = 0;
    for (const float value : stretch)
      bad |= static_cast<uint32_t>((std::bit_cast<uint32_t>(value) & 0x7F800000U) == 0x7F800000U);
    if (bad == 0) continue;
    for (size_t i = 0; i < stretch.size(); ++i) {
      if (!std::isfinite(stretch[i])) return static_cast<int64_t>(begin + i);
    }
  }
  return -1;
}

}  // namespace graft::formats
