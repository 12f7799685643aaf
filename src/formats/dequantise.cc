#include "formats/dequantise.h"

#include <array>
#include <cassert>
#include <cmath>
#include <string>

#include "base/strings.h"

namespace graft::formats {
namespace {

// Files promise no alignment, so values are copied out.
template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

constexpr size_t kBlock = 32;

// q * d - 8 d and (q - 8) * d differ in rounding; ggml computes the second.
void unpack_q4_0(const std::byte* block, float* out) {
  const float scale = half_to_float(load<uint16_t>(block));
  for (size_t i = 0; i < kBlock / 2; ++i) {
    const auto pair = std::to_integer<int>(block[2 + i]);
    out[i] = scale * static_cast<float>((pair & 15) - 8);
    out[i + kBlock / 2] = scale * static_cast<float>((pair >> 4) - 8);
  }
}

void unpack_q4_1(const std::byte* block, float* out) {
  const float scale = half_to_float(load<uint16_t>(block));
  const float minimum = half_to_float(load<uint16_t>(block + 2));
  for (size_t i = 0; i < kBlock / 2; ++i) {
    const auto pair = std::to_integer<int>(block[4 + i]);
    out[i] = scale * static_cast<float>(pair & 15) + minimum;
    out[i + kBlock / 2] = scale * static_cast<float>(pair >> 4) + minimum;
  }
}

void unpack_q8_0(const std::byte* block, float* out) {
  const float scale = half_to_float(load<uint16_t>(block));
  for (size_t i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(std::to_integer<int8_t>(block[2 + i]));
}

template <class T, class Convert>
void convert_each(std::span<const std::byte> data, std::span<float> out, Convert convert) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = convert(load<T>(data.data() + i * sizeof(T)));
}

void unpack_blocks(const TensorView& view, std::span<float> out, void (*unpack)(const std::byte*, float*)) {
  const auto block_bytes = static_cast<size_t>(dtype_layout(view.dtype).block_bytes);
  for (size_t i = 0; i < out.size() / kBlock; ++i) unpack(view.data.data() + i * block_bytes, out.data() + i * kBlock);
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
    case DType::kQ4_0:
      unpack_blocks(view, out, unpack_q4_0);
      return {};
    case DType::kQ4_1:
      unpack_blocks(view, out, unpack_q4_1);
      return {};
    case DType::kQ8_0:
      unpack_blocks(view, out, unpack_q8_0);
      return {};
    default:
      return unsupported("tensor '" + printable(view.name) + "': " + std::string(dtype_name(view.dtype)) +
                         " values cannot be read as weights");
  }
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
