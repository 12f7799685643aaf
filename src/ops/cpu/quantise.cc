#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>

#include "ops/cpu/f16.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/quant.h"

namespace graft::ops::cpu {

namespace {

constexpr int kLevels = 15;  // the largest 4-bit number
using Group = std::array<float, kInt4Group>;

struct Int4Group {
  f16 scale{}, minimum{};
  std::array<uint8_t, kInt4Group> q{};
};

float level(const Int4Group& group, int q) {
  return static_cast<float>(q) * to_float(group.scale) + to_float(group.minimum);
}

// The nearest levels of a given scale and minimum, and the squared error that they leave.
double assign(const Group& w, Int4Group& group) {
  const float scale = to_float(group.scale);
  const float minimum = to_float(group.minimum);
  double error = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const float at = scale > 0 ? (w[i] - minimum) / scale : 0.0F;
    const int q = std::clamp(static_cast<int>(std::lround(at)), 0, kLevels);
    group.q[i] = static_cast<uint8_t>(q);
    const double off = w[i] - level(group, q);
    error += off * off;
  }
  return error;
}

bool exact(const Group& w, Int4Group& group) {
  const float scale = to_float(group.scale);
  const float minimum = to_float(group.minimum);
  for (size_t i = 0; i < w.size(); ++i) {
    const int q = scale > 0 ? static_cast<int>(std::lround((w[i] - minimum) / scale)) : 0;
    if (q < 0 || q > kLevels || level(group, q) != w[i]) return false;
    group.q[i] = static_cast<uint8_t>(q);
  }
  return true;
}

// The grid that the group lies on, where there is one: its extremes are `steps` apart and the least is level `first`.
std::optional<Int4Group> on_a_grid(const Group& w, float low, float high) {
  Int4Group group;
  for (int steps = kLevels; steps > 0; --steps) {
    group.scale = to_f16((high - low) / static_cast<float>(steps));
    for (int first = 0; first + steps <= kLevels; ++first) {
      group.minimum = to_f16(low - static_cast<float>(first) * to_float(group.scale));
      if (exact(w, group)) return group;
    }
  }
  return std::nullopt;
}

// Scale and minimum of least squared error for the levels that were assigned.
void fit(const Group& w, Int4Group& group) {
  double sum_q = 0, sum_qq = 0, sum_w = 0, sum_qw = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double q = group.q[i];
    sum_q += q;
    sum_qq += q * q;
    sum_w += w[i];
    sum_qw += q * w[i];
  }
  const double n = kInt4Group;
  const double spread = n * sum_qq - sum_q * sum_q;
  if (spread <= 0) return;
  const double scale = (n * sum_qw - sum_q * sum_w) / spread;
  if (scale <= 0) return;
  group.scale = to_f16(static_cast<float>(scale));
  group.minimum = to_f16(static_cast<float>((sum_w - scale * sum_q) / n));
}

// Tries ranges somewhat inside the extremes, each fitted twice.
Int4Group least_error(const Group& w, float low, float high) {
  Int4Group best;
  double best_error = -1;
  for (int cut = 0; cut <= 8; ++cut) {
    const float inset = (high - low) * 0.02F * static_cast<float>(cut);
    Int4Group group;
    group.scale = to_f16((high - low - 2 * inset) / kLevels);
    group.minimum = to_f16(low + inset);
    assign(w, group);
    for (int pass = 0; pass < 2; ++pass) {
      fit(w, group);
      const double error = assign(w, group);
      if (best_error < 0 || error < best_error) {
        best_error = error;
        best = group;
      }
    }
  }
  return best;
}

Int4Group quantise_int4(const Group& w) {
  const auto [low, high] = std::minmax_element(w.begin(), w.end());
  if (const auto grid = on_a_grid(w, *low, *high)) return *grid;
  return least_error(w, *low, *high);
}

// N values of one row from column `begin`, zero beyond k.
template <size_t N>
std::array<float, N> load_group(const float* row, int64_t begin, int64_t k) {
  std::array<float, N> group{};
  const auto count = static_cast<size_t>(std::clamp<int64_t>(k - begin, 0, N));
  std::copy_n(row + begin, count, group.begin());
  return group;
}

// Where the byte of value `i` of a group lies: its step's 64 bytes, its row's 4.
int64_t byte_of(int64_t step, int64_t row, int64_t i) { return step * 64 + row * 4 + i % 4; }

void store_f16(uint8_t* to, int64_t index, f16 value) { std::memcpy(to + index * 2, &value, 2); }
float read_f16(const uint8_t* from, int64_t index) {
  f16 value;
  std::memcpy(&value, from + index * 2, 2);
  return to_float(value);
}

void store_int8(std::span<const float, kInt8Group> w, int64_t row, uint8_t* record) {
  float largest = 0;
  for (const float x : w) largest = std::max(largest, std::fabs(x));
  const float scale = largest / 127.0F;
  for (int64_t i = 0; i < kInt8Group; ++i) {
    const float at = scale > 0 ? w[static_cast<size_t>(i)] / scale : 0.0F;
    record[byte_of(i / 4, row, i)] = static_cast<uint8_t>(std::clamp(std::nearbyint(at), -127.0F, 127.0F) + 128.0F);
  }
  std::memcpy(record + kInt8Group * kPanel + row * 4, &scale, 4);
}

void store_int4(const Group& w, int64_t row, uint8_t* record) {
  const Int4Group group = quantise_int4(w);
  for (int64_t i = 0; i < kInt4Group; ++i) {
    const int64_t step = i / 4;
    const int q = group.q[static_cast<size_t>(i)];
    record[byte_of(step / 2, row, i)] |= static_cast<uint8_t>(step % 2 == 0 ? q : q << 4);
  }
  uint8_t* scales = record + kInt4Group * kPanel / 2;
  store_f16(scales, row, group.scale);
  store_f16(scales, kPanel + row, group.minimum);
}

}  // namespace

void quantise_weights(WeightFormat format, const float* w, int64_t n, int64_t k, void* packed) {
  const int64_t panel_bytes = quant_panel_bytes(format, k);
  const int64_t groups = quant_groups(format, k);
  parallel_for((n + kPanel - 1) / kPanel, [&](int64_t p) {
    uint8_t* record = static_cast<uint8_t*>(packed) + p * panel_bytes;
    std::memset(record, 0, static_cast<size_t>(panel_bytes));
    for (int64_t g = 0; g < groups; ++g, record += panel_bytes / groups) {
      for (int64_t row = 0; row < kPanel; ++row) {
        const bool real = p * kPanel + row < n;
        const float* from = w + (p * kPanel + row) * k;
        if (format == WeightFormat::kInt8) {
          const auto group = real ? load_group<kInt8Group>(from, g * kInt8Group, k) : std::array<float, kInt8Group>{};
          store_int8(group, row, record);
        } else if (real) {
          store_int4(load_group<kInt4Group>(from, g * kInt4Group, k), row, record);
        }
      }
    }
  });
}

namespace {

float read_int8(const uint8_t* record, int64_t row, int64_t i) {
  float scale = 0;
  std::memcpy(&scale, record + kInt8Group * kPanel + row * 4, 4);
  return static_cast<float>(record[byte_of(i / 4, row, i)] - 128) * scale;
}

float read_int4(const uint8_t* record, int64_t row, int64_t i) {
  const int64_t step = i / 4;
  const uint8_t both = record[byte_of(step / 2, row, i)];
  const int q = step % 2 == 0 ? both & 0xf : both >> 4;
  const uint8_t* scales = record + kInt4Group * kPanel / 2;
  return static_cast<float>(q) * read_f16(scales, row) + read_f16(scales, kPanel + row);
}

}  // namespace

void dequantise_row(WeightFormat format, const void* packed, int64_t k, int64_t row, float* out) {
  const uint8_t* panel = static_cast<const uint8_t*>(packed) + row / kPanel * quant_panel_bytes(format, k);
  for (int64_t i = 0; i < k; ++i) {
    out[i] = format == WeightFormat::kInt8
                 ? read_int8(panel + i / kInt8Group * kInt8Record, row % kPanel, i % kInt8Group)
                 : read_int4(panel + i / kInt4Group * kInt4Record, row % kPanel, i % kInt4Group);
  }
}

}  // namespace graft::ops::cpu
