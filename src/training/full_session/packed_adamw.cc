#include "training/full_session/packed_adamw.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/philox.h"
#include "ops/cpu/bf16.h"
#include "training/optimizers/dynamic_code.h"

namespace graft::training {

namespace {

using ops::cpu::bf16;
using ops::cpu::kPanel;

constexpr int64_t kRun = 256;  // elements with one scale: 16 rows of a panel at 16 columns
constexpr int64_t kRunColumns = kRun / kPanel;
constexpr uint64_t kRoundingKey = 0x726f756e64696e67;

uint8_t zero(const DynamicCode& code) {
  return static_cast<uint8_t>(std::find(code.values().begin(), code.values().end(), 0.0F) - code.values().begin());
}

size_t runs_of_panel(int64_t k) { return static_cast<size_t>((ops::cpu::panel_elements(k) + kRun - 1) / kRun); }

// Elements of a panel in the order of memory, from a gradient's columns of 16 rows, stride 64.
template <class T>
void gather(const float* from, int64_t columns, float* to) {
  constexpr int64_t kWidth = sizeof(T) == 2 ? 2 : 1;
  for (int64_t column = 0; column < columns; ++column, from += ops::kGradientRows) {
    float* pair = to + column / kWidth * kWidth * kPanel + column % kWidth;
    for (int64_t row = 0; row < kPanel; ++row) pair[row * kWidth] = from[row];
  }
}

void load(const bf16* from, int64_t n, float* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = ops::cpu::to_float(from[i]);
}
void load(const float* from, int64_t n, float* to) { std::copy(from, from + n, to); }
void store(const float* from, int64_t n, bf16* to) {
  for (int64_t i = 0; i < n; ++i) to[i].bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(from[i]) >> 16);
}
void store(const float* from, int64_t n, float* to) { std::copy(from, from + n, to); }

void step_float(const AdamWStep& k, const float* gradient, float scale, int64_t n, float* __restrict__ exp_avg,
                float* __restrict__ exp_avg_sq, float* __restrict__ p) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * scale;
    const float m = k.beta1 * exp_avg[i] + k.one_beta1 * g;
    const float v = k.beta2 * exp_avg_sq[i] + k.one_beta2 * g * g;
    exp_avg[i] = m;
    exp_avg_sq[i] = v;
    p[i] = k.decay * p[i] - k.step_size * m / (std::sqrt(v) / k.root + k.eps);
  }
}

}  // namespace

double sum_of_squares(const ops::GradientBlock& block) {
  std::array<float, 16> lanes{};
  const float* from = block.values;
  for (int64_t i = 0; i < block.columns * ops::kGradientRows; i += 16) {
    for (size_t lane = 0; lane < 16; ++lane)
      lanes[lane] += from[i + static_cast<int64_t>(lane)] * from[i + static_cast<int64_t>(lane)];
  }
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

PackedAdamW::PackedAdamW(const PackedAdamWSettings& settings, FullWeights& weights, std::vector<ParameterBlock> blocks)
    : settings_(settings), weights_(weights), blocks_(std::move(blocks)) {
  const auto elements = static_cast<size_t>(weights_.packed().numel());
  size_t runs = 0;
  for (const FullParameter& matrix : weights_.matrices()) {
    first_run_.push_back(runs);
    runs += static_cast<size_t>((matrix.n + kPanel - 1) / kPanel) * runs_of_panel(matrix.k);
  }
  if (settings_.eight_bit) {
    exp_avg_8bit_.assign(elements, zero(DynamicCode::of_signed()));
    exp_avg_sq_8bit_.assign(elements, zero(DynamicCode::of_unsigned()));
    exp_avg_scale_.resize(runs);
    exp_avg_sq_scale_.resize(runs);
  } else {
    exp_avg_.resize(elements);
    exp_avg_sq_.resize(elements);
  }
  vector_exp_avg_.resize(static_cast<size_t>(weights_.vector_values().numel()));
  vector_exp_avg_sq_.resize(vector_exp_avg_.size());
}

void PackedAdamW::begin_step(double learning_rate) {
  OptimizerInput input;
  input.learning_rate = learning_rate;
  step_.clear();
  for (const ParameterBlock& block : blocks_) step_.emplace_back(settings_.adamw, block, input, steps_ + 1);
}

double PackedAdamW::apply(size_t matrix, const ops::GradientBlock& block, float scale) {
  const double squares = sum_of_squares(block);
  if (!std::isfinite(squares)) return squares;
  if (weights_.weights().dtype == at::kBFloat16) {
    apply_block<bf16>(matrix, block, scale);
  } else {
    apply_block<float>(matrix, block, scale);
  }
  return squares;
}

template <class T>
void PackedAdamW::apply_block(size_t matrix, const ops::GradientBlock& block, float scale) {
  const FullParameter& place = weights_.matrices()[matrix];
  const int64_t panel_size = ops::cpu::panel_elements(place.k);
  std::array<float, kRun> gradient;
  for (int64_t row = 0; row < block.rows; row += kPanel) {
    const int64_t panel = (block.first_row + row) / kPanel;
    for (int64_t column = 0; column < block.columns; column += kRunColumns) {
      const int64_t within = (block.first_column + column) * kPanel;
      const int64_t count = std::min(kRun, panel_size - within);
      const int64_t columns = std::min(kRunColumns, block.columns - column);
      if (columns * kPanel < count) gradient.fill(0.0F);
      gather<T>(block.values + column * ops::kGradientRows + row, columns, gradient.data());
      const size_t run =
          first_run_[matrix] + static_cast<size_t>(panel) * runs_of_panel(place.k) + static_cast<size_t>(within / kRun);
      update<T>(step_[matrix], {place.offset + panel * panel_size + within, count, run}, gradient.data(), scale);
    }
  }
}

template <class T>
void PackedAdamW::update(const AdamWStep& k, const Place& place, const float* gradient, float scale) {
  T* const at = static_cast<T*>(weights_.packed().mutable_data_ptr()) + place.offset;
  std::array<float, kRun> p;
  load(at, place.count, p.data());
  if (settings_.eight_bit) {
    step_8bit(k, place, gradient, scale, p.data());
  } else {
    step_float(k, gradient, scale, place.count, exp_avg_.data() + place.offset, exp_avg_sq_.data() + place.offset,
               p.data());
  }
  if (sizeof(T) == 2) round(place.offset, place.count, p.data());
  store(p.data(), place.count, at);
}

void PackedAdamW::step_8bit(const AdamWStep& k, const Place& place, const float* gradient, float scale, float* p) {
  std::array<float, kRun> m;
  std::array<float, kRun> v;
  uint8_t* const m_codes = exp_avg_8bit_.data() + place.offset;
  uint8_t* const v_codes = exp_avg_sq_8bit_.data() + place.offset;
  const auto count = static_cast<size_t>(place.count);
  DynamicCode::of_signed().decode({m_codes, count}, exp_avg_scale_[place.run], m.data());
  DynamicCode::of_unsigned().decode({v_codes, count}, exp_avg_sq_scale_[place.run], v.data());
  step_float(k, gradient, scale, place.count, m.data(), v.data(), p);
  exp_avg_scale_[place.run] = DynamicCode::of_signed().encode({m.data(), count}, m_codes);
  exp_avg_sq_scale_[place.run] = DynamicCode::of_unsigned().encode({v.data(), count}, v_codes);
}

// Adds 16 random bits below those that stay, and cuts them off. Offsets are multiples of 8.
void PackedAdamW::round(int64_t offset, int64_t count, float* values) const {
  std::array<uint32_t, kRun> random;
  for (int64_t i = 0; i < count; i += 8) {
    const PhiloxBlock block = philox_block(settings_.seed ^ kRoundingKey, static_cast<uint64_t>(steps_),
                                           static_cast<uint64_t>(offset + i) / 8);
    for (size_t j = 0; j < 4; ++j) {
      random[static_cast<size_t>(i) + 2 * j] = block[j] & 0xffffU;
      random[static_cast<size_t>(i) + 2 * j + 1] = block[j] >> 16;
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]) + random[static_cast<size_t>(i)];
    values[i] = std::bit_cast<float>(bits & 0xffff0000U);
  }
}

double PackedAdamW::apply(size_t vector, std::span<const float> gradient, float scale) {
  double squares = 0;
  for (const float g : gradient) squares += static_cast<double>(g) * g;
  if (!std::isfinite(squares)) return squares;
  const FullParameter& place = weights_.vectors()[vector];
  const AdamWStep& k = step_[weights_.matrices().size() + vector];
  float* const p = weights_.vector_values().mutable_data_ptr<float>() + place.offset;
  step_float(k, gradient.data(), scale, place.k, vector_exp_avg_.data() + place.offset,
             vector_exp_avg_sq_.data() + place.offset, p);
  if (weights_.weights().dtype != at::kBFloat16) return squares;
  // Their random numbers follow those of the matrices.
  const int64_t first = (weights_.packed().numel() + place.offset + 7) / 8 * 8;
  for (int64_t i = 0; i < place.k; i += kRun) round(first + i, std::min(kRun, place.k - i), p + i);
  return squares;
}

std::vector<StateTensor> PackedAdamW::state() {
  std::vector<StateTensor> tensors;
  if (settings_.eight_bit) {
    tensors = {{"exp_avg_8bit", exp_avg_8bit_},
               {"exp_avg_scale", exp_avg_scale_},
               {"exp_avg_sq_8bit", exp_avg_sq_8bit_},
               {"exp_avg_sq_scale", exp_avg_sq_scale_}};
  } else {
    tensors = {{"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}};
  }
  tensors.push_back({"vector_exp_avg", vector_exp_avg_});
  tensors.push_back({"vector_exp_avg_sq", vector_exp_avg_sq_});
  return tensors;
}

}  // namespace graft::training
