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
using Group = std::array<float, kQuantGroup>;

struct Int4Group {
  f16 scale{}, minimum{};
  std::array<uint8_t, kQuantGroup> q{};
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
  const double n = kQuantGroup;
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

// 32 values of one row from column `begin`, zero beyond k.
Group load_group(const float* row, int64_t begin, int64_t k) {
  Group group{};
  for (int64_t i = 0; i < kQuantGroup && begin + i < k; ++i) group[static_cast<size_t>(i)] = row[begin + i];
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

void store_int8(const Group& w, int64_t g, int64_t row, uint8_t* record) {
  float largest = 0;
  for (const float x : w) largest = std::max(largest, std::fabs(x));
  const f16 stored = to_f16(largest / 127.0F);
  const float scale = to_float(stored);
  uint8_t* bytes = record + g % 2 * kQuantGroup * kPanel;
  for (int64_t i = 0; i < kQuantGroup; ++i) {
    const float at = scale > 0 ? w[static_cast<size_t>(i)] / scale : 0.0F;
    bytes[byte_of(i / 4, row, i)] = static_cast<uint8_t>(std::clamp(std::nearbyint(at), -127.0F, 127.0F) + 128.0F);
  }
  store_f16(record + 2 * kQuantGroup * kPanel, g % 2 * kPanel + row, stored);
}

void store_int4(const Group& w, int64_t row, uint8_t* record) {
  const Int4Group group = quantise_int4(w);
  for (int64_t i = 0; i < kQuantGroup; ++i) {
    const int64_t step = i / 4;
    const int q = group.q[static_cast<size_t>(i)];
    record[byte_of(step / 2, row, i)] |= static_cast<uint8_t>(step % 2 == 0 ? q : q << 4);
  }
  uint8_t* scales = record + kQuantGroup * kPanel / 2;
  store_f16(scales, row, group.scale);
  store_f16(scales, kPanel + row, group.minimum);
}

uint8_t* record_of(WeightFormat format, uint8_t* panel, int64_t g) {
  return format == WeightFormat::kInt8 ? panel + g / 2 * kInt8Record : panel + g * kInt4Record;
}

}  // namespace

void quantise_weights(WeightFormat format, const float* w, int64_t n, int64_t k, void* packed) {
  const int64_t panel_bytes = quant_panel_bytes(format, k);
  parallel_for((n + kPanel - 1) / kPanel, [&](int64_t p) {
    auto* panel = static_cast<uint8_t*>(packed) + p * panel_bytes;
    std::memset(panel, 0, static_cast<size_t>(panel_bytes));
    for (int64_t g = 0; g < quant_groups(format, k); ++g) {
      uint8_t* record = record_of(format, panel, g);
      for (int64_t row = 0; row < kPanel; ++row) {
        const bool real = p * kPanel + row < n;
        const Group group = real ? load_group(w + (p * kPanel + row) * k, g * kQuantGroup, k) : Group{};
        if (format == WeightFormat::kInt8) {
          store_int8(group, g, row, record);
        } else if (real) {
          store_int4(group, row, record);
        }
      }
    }
  });
}

void dequantise_row(WeightFormat format, const void* packed, int64_t k, int64_t row, float* out) {
  const uint8_t* panel = static_cast<const uint8_t*>(packed) + row / kPanel * quant_panel_bytes(format, k);
  const int64_t r = row % kPanel;
  for (int64_t i = 0; i < k; ++i) {
    const int64_t g = i / kQuantGroup;
    const int64_t step = i % kQuantGroup / 4;
    if (format == WeightFormat::kInt8) {
      const uint8_t* record = panel + g / 2 * kInt8Record;
      const float scale = read_f16(record + 2 * kQuantGroup * kPanel, g % 2 * kPanel + r);
      const int q = record[g % 2 * kQuantGroup * kPanel + byte_of(step, r, i)] - 128;
      out[i] = static_cast<float>(q) * scale;
    } else {
      const uint8_t* record = panel + g * kInt4Record;
      const uint8_t both = record[byte_of(step / 2, r, i)];
      const int q = step % 2 == 0 ? both & 0xf : both >> 4;
      const uint8_t* scales = record + kQuantGroup * kPanel / 2;
      out[i] = static_cast<float>(q) * read_f16(scales, r) + read_f16(scales, kPanel + r);
    }
  }
}

}  // namespace graft::ops::cpu
