#include "training/optimizers/dynamic_code.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace graft::training {

DynamicCode::DynamicCode(bool is_signed) : is_signed_(is_signed) {
  std::vector<double> values = {0.0, 1.0};
  for (int exponent = 0; exponent < 7; ++exponent) {
    const int parts = 1 << (is_signed ? exponent : exponent + 1);
    for (int part = 0; part < parts; ++part) {
      const double middle = 0.1 + 0.9 * (2 * part + 1) / (2.0 * parts);
      const double value = std::pow(10.0, exponent - 6) * middle;
      values.push_back(value);
      if (is_signed) values.push_back(-value);
    }
  }
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < values_.size(); ++i) values_[i] = static_cast<float>(values[i]);
  for (size_t i = 0; i + 1 < values_.size(); ++i) middles_[i] = (values_[i] + values_[i + 1]) / 2;
  middles_.back() = std::numeric_limits<float>::infinity();
  constexpr uint32_t kHalves = 1U << 16;
  first_.resize(kHalves);
  for (uint32_t half = 0; half < kHalves; ++half) {
    // The lowest float that begins with these bits; a NaN is no value that has a code.
    const float lowest = std::bit_cast<float>(half << 16 | (half >> 15 != 0 ? 0xffffU : 0U));
    first_[half] = std::isnan(lowest) ? 0 : search(lowest);
  }
}

const DynamicCode& DynamicCode::of_signed() {
  static const DynamicCode code(true);
  return code;
}

const DynamicCode& DynamicCode::of_unsigned() {
  static const DynamicCode code(false);
  return code;
}

// The number of middles below x.
uint8_t DynamicCode::nearest(float x) const {
  uint8_t at = first_[std::bit_cast<uint32_t>(x) >> 16];
  while (middles_[at] < x) ++at;
  return at;
}

uint8_t DynamicCode::search(float x) const {
  uint32_t at = 0;
  for (uint32_t step = 128; step > 0; step /= 2) at += middles_[at + step - 1] < x ? step : 0;
  return static_cast<uint8_t>(at);
}

float DynamicCode::encode(std::span<const float> from, uint8_t* codes) const {
  float scale = 0;
  for (const float x : from) scale = std::max(scale, std::abs(x));
  const float divisor = scale > 0 ? scale : 1.0F;
  for (size_t i = 0; i < from.size(); ++i) {
    const uint8_t code = nearest(from[i] / divisor);
    codes[i] = !is_signed_ && from[i] > 0 ? std::max<uint8_t>(code, 1) : code;
  }
  return scale;
}

void DynamicCode::decode(std::span<const uint8_t> codes, float scale, float* to) const {
  for (size_t i = 0; i < codes.size(); ++i) to[i] = values_[codes[i]] * scale;
}

}  // namespace graft::training
