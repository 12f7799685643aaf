#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/cpu/gemm_blocks.h"
#include "ops/cpu/kernels.h"

// What the two kinds of weight gradients share.
namespace graft::ops {

inline constexpr int kGradientSlot = 5, kLogitSlot = 6, kLogitPanelSlot = 7;  // of thread_scratch

// values [columns, 64] = rows [column, column + columns) of x_t [in, tokens] . panels: sums over tokens in order, in
// runs that keep the panels in cache. Panel p begins at panels + p * stride.
template <class T>
void outer_block(const T* x_t, int64_t ld, int64_t column, int64_t columns, const T* panels, int64_t stride, int count,
                 int64_t tokens, float* values) {
  constexpr int64_t kRun = 2048;
  for (int64_t from = 0; from < tokens; from += kRun) {
    cpu::TileArgs tile;
    tile.lda = ld;
    tile.k = std::min(kRun, tokens - from);
    for (int p = 0; p < count; ++p) tile.b[p] = panels + p * stride + from * cpu::kPanel;
    tile.ldinit = tile.ldc = 64;
    tile.c_is_float = true;
    tile.n = static_cast<int>(count * cpu::kPanel);
    cpu::for_tiles(0, columns, [&](int64_t row, int rows) {
      tile.a = x_t + (column + row) * ld + from;
      tile.init = from > 0 ? values + row * 64 : nullptr;
      tile.c = values + row * 64;
      cpu::typed_kernels<T>().tile[rows - 1][count - 1](tile);
    });
  }
  for (int64_t row = 0; count < cpu::kTilePanels && row < columns; ++row) {
    std::fill(values + row * 64 + count * cpu::kPanel, values + (row + 1) * 64, 0.0F);
  }
}

}  // namespace graft::ops
