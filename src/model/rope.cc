#include <ATen/ops/empty.h>

#include <cmath>
#include <numbers>

#include "model/decoder.h"

namespace graft::model {

namespace {

// Llama 3's scaling: long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
float scale_llama3(float frequency, const formats::RopeSpec& rope) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const auto original = static_cast<double>(rope.original_max_position);
  if (wavelength < original / rope.high_freq_factor) return frequency;
  if (wavelength > original / rope.low_freq_factor) return static_cast<float>(frequency / rope.factor);
  const double smooth = (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return static_cast<float>((1 - smooth) * frequency / rope.factor + smooth * frequency);
}

float inverse_frequency(const formats::ModelSpec& spec, int64_t i) {
  const auto exponent = static_cast<float>(2 * i) / static_cast<float>(spec.head_dim);
  const float base = 1.0F / static_cast<float>(std::pow(spec.rope.theta, static_cast<double>(exponent)));
  switch (spec.rope.kind) {
    case formats::RopeKind::kLinear:
      return static_cast<float>(base / spec.rope.factor);
    case formats::RopeKind::kLlama3:
      return scale_llama3(base, spec.rope);
    default:  // the others do not get here: see supported_by_decoder
      break;
  }
  return base;
}

}  // namespace

ops::RopeTable make_rope_table(const formats::ModelSpec& spec) {
  const int64_t half = spec.head_dim / 2;
  const auto options = at::TensorOptions().dtype(at::kFloat);
  ops::RopeTable table{at::empty({spec.max_position, half}, options), at::empty({spec.max_position, half}, options),
                       half};
  auto* cos = table.cos.mutable_data_ptr<float>();
  auto* sin = table.sin.mutable_data_ptr<float>();
  for (int64_t i = 0; i < half; ++i) {
    const float frequency = inverse_frequency(spec, i);
    for (int64_t position = 0; position < spec.max_position; ++position) {
      const float angle = static_cast<float>(position) * frequency;
      cos[position * half + i] = std::cos(angle);
      sin[position * half + i] = std::sin(angle);
    }
  }
  return table;
}

}  // namespace graft::model
