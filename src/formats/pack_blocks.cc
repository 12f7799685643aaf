#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "formats/blocks.h"
#include "formats/dequantise.h"

// How the scales are found: a few dozen starting points around the obvious one; for each, quants by rounding and then
// the scale that fits these quants best (least squares), twice; at the end everything is judged with the scales as they
// are stored, in half precision and six or eight bits. What is minimised is the plain squared error of the block.
namespace graft::formats {
namespace {

constexpr int kBlock = 32;
constexpr int kSuperBlock = 256;
constexpr float kLargestHalf = 65504;

// To nearest, ties to even, for magnitudes below 2^22: the addition leaves the whole number in the mantissa.
int nearest(float value) {
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23
  return std::bit_cast<int32_t>(value + kShift) - 0x4B400000;
}

int clamped(float value, int lowest, int highest) {
  const float bounded = std::min(std::max(value, static_cast<float>(lowest)), static_cast<float>(highest));
  return nearest(bounded);
}

uint16_t bounded_half(float value) { return float_to_half(std::clamp(value, -kLargestHalf, kLargestHalf)); }

float inverse(float value) {
  const float result = value == 0 ? 0 : 1 / value;
  return std::isfinite(result) ? result : 0;
}

float largest_magnitude(const float* x, int count) {
  float largest = 0;
  for (int i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest;
}

// ---- symmetric: x = scale * q, q in lowest..highest = -lowest - 1 ----

struct Fit {
  float scale = 0;
  float error = std::numeric_limits<float>::max();
};

float symmetric_error(const float* x, int count, float scale, int lowest) {
  const float inverted = inverse(scale);
  float error = 0;
  for (int i = 0; i < count; ++i) {
    const float rest = x[i] - scale * static_cast<float>(clamped(x[i] * inverted, lowest, -lowest - 1));
    error += rest * rest;
  }
  return error;
}

// The scale that fits the quants that `scale` gives.
float refit_symmetric(const float* x, int count, float scale, int lowest) {
  const float inverted = inverse(scale);
  float products = 0;
  float squares = 0;
  for (int i = 0; i < count; ++i) {
    const auto quant = static_cast<float>(clamped(x[i] * inverted, lowest, -lowest - 1));
    products += x[i] * quant;
    squares += quant * quant;
  }
  return squares > 0 ? products / squares : scale;
}

// The range is longer below zero, so both signs of the scale are tried. `stored` rounds a scale to what can be stored.
template <class Stored>
Fit fit_symmetric(const float* x, int count, int lowest, const Stored& stored) {
  Fit best;
  const float largest = largest_magnitude(x, count);
  if (largest == 0) return {0, 0};
  for (int step = -9; step <= 6; ++step) {
    for (const float sign : {1.0F, -1.0F}) {
      float scale = sign * largest / (static_cast<float>(-lowest) + 0.25F * static_cast<float>(step));
      for (int round = 0; round < 2; ++round) scale = refit_symmetric(x, count, scale, lowest);
      scale = stored(scale);
      const float error = symmetric_error(x, count, scale, lowest);
      if (error < best.error) best = {scale, error};
    }
  }
  return best;
}

void store_nibbles_and_fifth_bits(const int* quants, std::byte* high, std::byte* low) {
  uint32_t bits = 0;
  for (int i = 0; i < kBlock; ++i) bits |= static_cast<uint32_t>(quants[i] >> 4 & 1) << i;
  store_value(high, bits);
  for (int i = 0; i < kBlock / 2; ++i) {
    low[i] = static_cast<std::byte>((quants[i] & 15) | (quants[i + kBlock / 2] & 15) << 4);
  }
}

// ---- with a minimum: x = scale * q - minimum, q in 0..most, scale and minimum not negative ----

struct Line {
  float scale = 0;
  float minimum = 0;
};

template <int kMost>
float line_error(const float* x, const Line& line) {
  const float inverted = inverse(line.scale);
  float error = 0;
  for (int i = 0; i < kBlock; ++i) {
    const auto quant = static_cast<float>(clamped((x[i] + line.minimum) * inverted, 0, kMost));
    const float rest = x[i] - (line.scale * quant - line.minimum);
    error += rest * rest;
  }
  return error;
}

// Least squares for the quants that `line` gives; a minimum that would be negative is zero.
template <int kMost>
Line refit_line(const float* x, const Line& line) {
  const float inverted = inverse(line.scale);
  float quants = 0;
  float squares = 0;
  float values = 0;
  float products = 0;
  for (int i = 0; i < kBlock; ++i) {
    const auto quant = static_cast<float>(clamped((x[i] + line.minimum) * inverted, 0, kMost));
    quants += quant;
    squares += quant * quant;
    values += x[i];
    products += x[i] * quant;
  }
  constexpr auto kCount = static_cast<float>(kBlock);
  const float determinant = kCount * squares - quants * quants;
  if (determinant > 0) {
    const Line fitted{(kCount * products - values * quants) / determinant,
                      (quants * products - squares * values) / determinant};
    if (fitted.scale > 0 && fitted.minimum >= 0) return fitted;
  }
  if (squares > 0 && products > 0) return {products / squares, 0};
  return line;
}

template <int kMost>
Line fit_line(const float* x) {
  const float low = std::min(0.0F, *std::min_element(x, x + kBlock));
  const float high = std::max(low, *std::max_element(x, x + kBlock));
  if (high == low) return {0, -low};
  Line best;
  float least = std::numeric_limits<float>::max();
  for (int step = -5; step <= 8; ++step) {
    Line line{(high - low) / (static_cast<float>(kMost) + 0.25F * static_cast<float>(step)), -low};
    for (int round = 0; round < 2; ++round) line = refit_line<kMost>(x, line);
    const float error = line_error<kMost>(x, line);
    if (error < least) {
      least = error;
      best = line;
    }
  }
  return best;
}

// Eight lines whose scales and minima are six-bit multiples of two halves.
struct Lines {
  float scale = 0;  // as stored
  float minimum = 0;
  ScalesAndMinima parts{};
  float error = std::numeric_limits<float>::max();

  [[nodiscard]] Line line(int j, int scale_step = 0, int minimum_step = 0) const {
    return {scale * static_cast<float>(parts.scale[j] + scale_step),
            minimum * static_cast<float>(parts.minimum[j] + minimum_step)};
  }
};

bool six_bits(int value) { return value >= 0 && value <= 63; }

// Each line's two multiples may move by one where that lowers the error.
template <int kMost>
void settle(const float* x, Lines& lines) {
  lines.error = 0;
  for (int j = 0; j < 8; ++j) {
    float least = std::numeric_limits<float>::max();
    int best_scale = 0;
    int best_minimum = 0;
    for (int scale = -1; scale <= 1; ++scale) {
      for (int minimum = -1; minimum <= 1; ++minimum) {
        if (!six_bits(lines.parts.scale[j] + scale) || !six_bits(lines.parts.minimum[j] + minimum)) continue;
        const float error = line_error<kMost>(x + j * kBlock, lines.line(j, scale, minimum));
        if (error >= least) continue;
        least = error;
        best_scale = scale;
        best_minimum = minimum;
      }
    }
    lines.parts.scale[j] = static_cast<uint8_t>(lines.parts.scale[j] + best_scale);
    lines.parts.minimum[j] = static_cast<uint8_t>(lines.parts.minimum[j] + best_minimum);
    lines.error += least;
  }
}

// The two halves that fit best what is otherwise settled: least squares over the whole super-block.
template <int kMost>
Lines refit_halves(const float* x, Lines lines) {
  double uu = 0;
  double uv = 0;
  double vv = 0;
  double ux = 0;
  double vx = 0;
  for (int j = 0; j < 8; ++j) {
    const Line line = lines.line(j);
    const float inverted = inverse(line.scale);
    for (int i = j * kBlock; i < (j + 1) * kBlock; ++i) {
      const int quant = clamped((x[i] + line.minimum) * inverted, 0, kMost);
      const double u = lines.parts.scale[j] * quant;
      const double v = -lines.parts.minimum[j];
      uu += u * u;
      uv += u * v;
      vv += v * v;
      ux += u * x[i];
      vx += v * x[i];
    }
  }
  const double determinant = uu * vv - uv * uv;
  if (determinant > 0) {
    const double scale = (ux * vv - vx * uv) / determinant;
    const double minimum = (vx * uu - ux * uv) / determinant;
    if (scale > 0 && minimum >= 0) {
      lines.scale = half_to_float(bounded_half(static_cast<float>(scale)));
      lines.minimum = half_to_float(bounded_half(static_cast<float>(minimum)));
    }
  } else if (uu > 0 && ux > 0) {
    lines.scale = half_to_float(bounded_half(static_cast<float>(ux / uu)));
  }
  return lines;
}

template <int kMost>
Lines fit_lines(const float* x) {
  std::array<Line, 8> fits;
  Line largest;
  for (int j = 0; j < 8; ++j) {
    fits[j] = fit_line<kMost>(x + j * kBlock);
    largest.scale = std::max(largest.scale, fits[j].scale);
    largest.minimum = std::max(largest.minimum, fits[j].minimum);
  }
  Lines lines;
  lines.scale = half_to_float(bounded_half(largest.scale / 63));
  lines.minimum = half_to_float(bounded_half(largest.minimum / 63));
  for (int j = 0; j < 8; ++j) {
    lines.parts.scale[j] = static_cast<uint8_t>(clamped(fits[j].scale * inverse(lines.scale), 0, 63));
    lines.parts.minimum[j] = static_cast<uint8_t>(clamped(fits[j].minimum * inverse(lines.minimum), 0, 63));
  }
  settle<kMost>(x, lines);
  for (int round = 0; round < 3; ++round) {
    Lines next = refit_halves<kMost>(x, lines);
    settle<kMost>(x, next);
    if (next.error >= lines.error) break;
    lines = next;
  }
  return lines;
}

template <int kMost>
std::array<int, kSuperBlock> store_lines(const float* x, std::byte* block) {
  const Lines lines = fit_lines<kMost>(x);
  store_value(block, float_to_half(lines.scale));
  store_value(block + 2, float_to_half(lines.minimum));
  pack_scales(lines.parts, block + 4);
  std::array<int, kSuperBlock> quants;
  for (int j = 0; j < 8; ++j) {
    const Line line = lines.line(j);
    const float inverted = inverse(line.scale);
    for (int i = j * kBlock; i < (j + 1) * kBlock; ++i) {
      quants[i] = clamped((x[i] + line.minimum) * inverted, 0, kMost);
    }
  }
  return quants;
}

// Two to a byte and 32 apart.
void store_four_bits(const std::array<int, kSuperBlock>& quants, std::byte* out) {
  for (int i = 0; i < kSuperBlock / 2; ++i) {
    const int first = i / 32 * 64 + i % 32;
    out[i] = static_cast<std::byte>((quants[first] & 15) | (quants[first + 32] & 15) << 4);
  }
}

// ---- Q6_K: sixteen symmetric fits whose scales are eight-bit multiples of one half ----

struct Q6Scales {
  float scale = 0;  // as stored
  std::array<int, 16> parts{};
  float error = std::numeric_limits<float>::max();
};

constexpr int kQ6Lowest = -32;

void settle(const float* x, Q6Scales& scales) {
  scales.error = 0;
  for (int j = 0; j < 16; ++j) {
    float least = std::numeric_limits<float>::max();
    const int middle = scales.parts[j];
    for (int part = std::max(-128, middle - 1); part <= std::min(127, middle + 1); ++part) {
      const float error = symmetric_error(x + j * 16, 16, scales.scale * static_cast<float>(part), kQ6Lowest);
      if (error >= least) continue;
      least = error;
      scales.parts[j] = part;
    }
    scales.error += least;
  }
}

float refit_half(const float* x, const Q6Scales& scales) {
  double products = 0;
  double squares = 0;
  for (int i = 0; i < kSuperBlock; ++i) {
    const int part = scales.parts[i / 16];
    const float inverted = inverse(scales.scale * static_cast<float>(part));
    const double value = part * clamped(x[i] * inverted, kQ6Lowest, -kQ6Lowest - 1);
    products += value * x[i];
    squares += value * value;
  }
  return squares > 0 ? half_to_float(bounded_half(static_cast<float>(products / squares))) : scales.scale;
}

Q6Scales fit_q6(const float* x) {
  std::array<float, 16> fits;
  for (int j = 0; j < 16; ++j) fits[j] = fit_symmetric(x + j * 16, 16, kQ6Lowest, [](float s) { return s; }).scale;
  const float largest =
      *std::max_element(fits.begin(), fits.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
  Q6Scales best;
  for (const float divisor : {-128.0F, -122.0F, 127.0F}) {
    Q6Scales scales;
    scales.scale = half_to_float(bounded_half(largest / divisor));
    for (int j = 0; j < 16; ++j) scales.parts[j] = clamped(fits[j] * inverse(scales.scale), -128, 127);
    settle(x, scales);
    for (int round = 0; round < 2; ++round) {
      Q6Scales next = scales;
      next.scale = refit_half(x, scales);
      settle(x, next);
      if (next.error >= scales.error) break;
      scales = next;
    }
    if (scales.error < best.error) best = scales;
  }
  return best;
}

}  // namespace

void pack_q8_0(const float* values, std::byte* block) {
  const float scale = largest_magnitude(values, kBlock) / 127;
  const float inverted = inverse(scale);
  store_value(block, float_to_half(scale));
  for (int i = 0; i < kBlock; ++i) {
    store_value(block + 2 + i, static_cast<int8_t>(std::round(values[i] * inverted)));  // ggml: halves away from zero
  }
}

void pack_q5_0(const float* values, std::byte* block) {
  const Fit fit = fit_symmetric(values, kBlock, -16, [](float scale) { return half_to_float(bounded_half(scale)); });
  const float inverted = inverse(fit.scale);
  int quants[kBlock];
  for (int i = 0; i < kBlock; ++i) quants[i] = clamped(values[i] * inverted, -16, 15) + 16;
  store_value(block, float_to_half(fit.scale));
  store_nibbles_and_fifth_bits(quants, block + 2, block + 6);
}

void pack_scales(const ScalesAndMinima& values, std::byte* packed) {
  for (int j = 0; j < 4; ++j) {
    const int scale = values.scale[j + 4];
    const int minimum = values.minimum[j + 4];
    packed[j] = static_cast<std::byte>(values.scale[j] | scale >> 4 << 6);
    packed[j + 4] = static_cast<std::byte>(values.minimum[j] | minimum >> 4 << 6);
    packed[j + 8] = static_cast<std::byte>((scale & 15) | (minimum & 15) << 4);
  }
}

void pack_q4_k(const float* values, std::byte* block) { store_four_bits(store_lines<15>(values, block), block + 16); }

void pack_q5_k(const float* values, std::byte* block) {
  const std::array<int, kSuperBlock> quants = store_lines<31>(values, block);
  for (int l = 0; l < 32; ++l) {
    int bits = 0;
    for (int j = 0; j < 8; ++j) bits |= (quants[j * 32 + l] >> 4) << j;
    block[16 + l] = static_cast<std::byte>(bits);
  }
  store_four_bits(quants, block + 48);
}

void pack_q6_k(const float* values, std::byte* block) {
  const Q6Scales scales = fit_q6(values);
  std::fill_n(block, 192, std::byte{0});
  for (int i = 0; i < kSuperBlock; ++i) {
    const float inverted = inverse(scales.scale * static_cast<float>(scales.parts[i / 16]));
    const int quant = clamped(values[i] * inverted, kQ6Lowest, -kQ6Lowest - 1) - kQ6Lowest;
    block[i / 128 * 64 + i % 64] |= static_cast<std::byte>((quant & 15) << (i % 128 / 64 * 4));
    block[128 + i / 128 * 32 + i % 32] |= static_cast<std::byte>(quant >> 4 << (i % 128 / 32 * 2));
  }
  for (int j = 0; j < 16; ++j) store_value(block + 192 + j, static_cast<int8_t>(scales.parts[j]));
  store_value(block + 208, float_to_half(scales.scale));
}

PackBlock pack_function(DType dtype) {
  switch (dtype) {
    case DType::kQ5_0:
      return pack_q5_0;
    case DType::kQ8_0:
      return pack_q8_0;
    case DType::kQ4K:
      return pack_q4_k;
    case DType::kQ5K:
      return pack_q5_k;
    case DType::kQ6K:
      return pack_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace graft::formats
