#include "ops/cpu/dequantise.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ops/cpu/f16.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/quant.h"

namespace graft::ops::cpu {

namespace {

using Lanes = std::array<float, kPanel>;  // one for each row of a panel
// Four values along k of each row of a panel: [row][4].
using Step = std::array<float, kPanel * 4>;

Lanes read_floats(const uint8_t* from) {
  Lanes out;
  std::memcpy(out.data(), from, sizeof out);
  return out;
}

Lanes read_halves(const uint8_t* from) {
  Lanes out;
  for (size_t row = 0; row < out.size(); ++row) {
    f16 value;
    std::memcpy(&value, from + row * sizeof value, sizeof value);
    out[row] = to_float(value);
  }
  return out;
}

void convert(float value, float* to) { *to = value; }
void convert(float value, bf16* to) { *to = to_bf16(value); }

// Of T's panel layout: elements along k that lie beside each other, [k / width][16][width].
template <class T>
constexpr int64_t kWidth = sizeof(T) == 2 ? 2 : 1;

template <class T>
void store_whole(const Step& step, T* to) {
  for (int64_t i = 0; i < 4; i += kWidth<T>, to += kWidth<T> * kPanel) {
    for (int64_t row = 0; row < kPanel; ++row) {
      for (int64_t j = 0; j < kWidth<T>; ++j)
        convert(step[static_cast<size_t>(row * 4 + i + j)], to + row * kWidth<T> + j);
    }
  }
}

// What lies past k is padding, of which a dense panel has less; where it has some, it is zero.
template <class T>
void store(Step& step, int64_t at, int64_t k, T* panel) {
  if (at + 4 <= k) return store_whole(step, panel + at * kPanel);
  for (int64_t i = k - at; i < 4; ++i) {
    for (int64_t row = 0; row < kPanel; ++row) step[static_cast<size_t>(row * 4 + i)] = 0;
  }
  std::array<T, kPanel * 4> whole;
  store_whole(step, whole.data());
  std::copy_n(whole.data(), (k + (k & 1) - at) * kPanel, panel + at * kPanel);
}

template <class T>
void int8_group(const uint8_t* record, int64_t begin, int64_t k, T* panel) {
  const Lanes scales = read_floats(record + kInt8Group * kPanel);
  for (int64_t at = 0; at < kInt8Group && begin + at < k; at += 4) {
    const uint8_t* bytes = record + at / 4 * 64;
    Step step;
    for (size_t i = 0; i < step.size(); ++i) step[i] = static_cast<float>(bytes[i] - 128) * scales[i / 4];
    store(step, begin + at, k, panel);
  }
}

template <class T>
void int4_group(const uint8_t* record, int64_t begin, int64_t k, T* panel) {
  const uint8_t* halves = record + kInt4Group * kPanel / 2;
  const Lanes scales = read_halves(halves);
  const Lanes minima = read_halves(halves + kPanel * 2);
  for (int64_t at = 0; at < kInt4Group && begin + at < k; at += 4) {
    const uint8_t* bytes = record + at / 8 * 64;
    const int shift = at % 8 == 0 ? 0 : 4;
    Step step;
    for (size_t i = 0; i < step.size(); ++i) {
      step[i] = static_cast<float>(bytes[i] >> shift & 0xF) * scales[i / 4] + minima[i / 4];
    }
    store(step, begin + at, k, panel);
  }
}

}  // namespace

template <class T>
void dequantise_panels(WeightFormat format, const void* quantised, int64_t n, int64_t k, T* dense) {
  const int64_t groups = quant_groups(format, k);
  const int64_t record_bytes = quant_panel_bytes(format, k) / groups;
  const int64_t panels = (n + kPanel - 1) / kPanel;
  parallel_for(panels, [&](int64_t p) {
    const uint8_t* record = static_cast<const uint8_t*>(quantised) + p * quant_panel_bytes(format, k);
    T* panel = dense + p * panel_elements(k);
    for (int64_t g = 0; g < groups; ++g, record += record_bytes) {
      if (format == WeightFormat::kInt8) {
        int8_group(record, g * kInt8Group, k, panel);
      } else {
        int4_group(record, g * kInt4Group, k, panel);
      }
    }
  });
}

template void dequantise_panels<float>(WeightFormat, const void*, int64_t, int64_t, float*);
template void dequantise_panels<bf16>(WeightFormat, const void*, int64_t, int64_t, bf16*);

}  // namespace graft::ops::cpu
