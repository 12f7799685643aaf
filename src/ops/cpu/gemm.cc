#include "ops/cpu/gemm.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <vector>

#include "ops/cpu/gemm_blocks.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/quant.h"
#include "ops/cpu/shrink.h"

namespace graft::ops::cpu {

namespace {

constexpr int64_t kPackedRowsLimit = 4096;  // rows of W in one transposed scratch panel: keeps it in L2

// One block of columns of rows [begin, end). `wide`: where the sums [m, 64] go if short runs are finished apart.
template <class T>
void product_block(const ProductArgs& args, std::span<const Run> runs, const ColumnBlock& block, int64_t begin,
                   int64_t end, float* wide) {
  const WeightPart& part = args.parts[static_cast<size_t>(block.part)];
  const int panels = static_cast<int>((block.count + kPanel - 1) / kPanel);
  const auto& kernels = typed_kernels<T>();
  TileArgs base;
  base.lda = args.lda;
  base.k = args.k;
  for (int p = 0; p < panels; ++p) {
    base.b[p] = static_cast<const T*>(part.packed) + (block.first / kPanel + p) * panel_elements(args.k);
  }
  const std::span<const Run> touched = runs_of_rows(runs, begin, end);
  const NextBlock next(base.b[0], kTilePanels * panel_elements(args.k) * static_cast<int64_t>(sizeof(T)), begin, end,
                       args.m);

  if (touched.size() == 1 && (wide == nullptr || !is_short(touched.front()))) {
    const Graft* graft = touched.front().graft[static_cast<size_t>(block.part)];
    for_tiles(begin, end, [&](int64_t row, int rows) {
      TileArgs tile = base;
      tile.a = row_of<T>(args.a, args.lda, row);
      next.set(tile, row);
      if (graft != nullptr) set_graft<T>(tile, *graft, row, block.first, panels);
      set_output<T>(tile, args, row, part.column + block.first, block.count);
      kernels.tile[rows - 1][panels - 1](tile);
    });
    return;
  }
  // Several adapters: the base product in full tiles, kept as float32, then each run takes its chain up again.
  float* sums = block_sums(wide, begin, end);
  for_tiles(begin, end, [&](int64_t row, int rows) {
    TileArgs tile = base;
    tile.a = row_of<T>(args.a, args.lda, row);
    next.set(tile, row);
    tile.c = sums + (row - begin) * kBlockColumns;
    tile.ldc = kBlockColumns;
    tile.c_is_float = true;
    tile.n = static_cast<int>(panels * kPanel);
    kernels.tile[rows - 1][panels - 1](tile);
  });
  finish_block<T>(args, touched, block, begin, end, sums, wide != nullptr);
}

// Transposed panels of rows [n0, n0 + count) of all parts laid one after the other, columns [16 j, 16 j + 16).
template <class T>
void gather_transposed(std::span<const WeightPart> parts, int64_t k, int64_t n0, int64_t count, int64_t j, T* panel) {
  for (const WeightPart& part : parts) {
    const int64_t begin = std::max(n0, part.column);
    const int64_t end = std::min(n0 + count, part.column + part.n);
    if (begin >= end) continue;
    const int64_t first = begin - part.column;  // a multiple of 16: n0 is 0 or a multiple of the limit in a lone part
    const int64_t rows = (end - begin + kPanel - 1) / kPanel * kPanel;
    typed_kernels<T>().pack_transposed(part.packed, k, first, rows, j, panel + (begin - n0) * kPanel);
  }
}

}  // namespace

template <class T>
void product(const ProductArgs& args) {
  if (args.m == 0) return;
  if (args.format != WeightFormat::kDense) return quant_product<T>(args);
  product_of_blocks<T>(args, [&](std::span<const Run> runs, const ColumnBlock& block, int64_t begin, int64_t end,
                                 float* wide) { product_block<T>(args, runs, block, begin, end, wide); });
}

namespace {

// W is transposed once, for all rows; then it is a product like any other.
template <class T>
void product_with_transpose(const ProductArgs& args, int64_t columns) {
  const int64_t panels = (args.k + kPanel - 1) / kPanel;
  const int64_t bytes = panels * panel_elements(columns) * static_cast<int64_t>(sizeof(T));
  T* packed = static_cast<T*>(thread_scratch(kTransposedSlot, bytes));
  parallel_for(panels, [&](int64_t j) {
    gather_transposed<T>(args.parts, args.k, 0, columns, j, packed + j * panel_elements(columns));
  });
  const WeightPart transposed{packed, args.k, 0};
  ProductArgs product_args = args;
  product_args.k = columns;
  product_args.parts = {&transposed, 1};
  product<T>(product_args);
}

}  // namespace

template <class T>
void product_transposed(const ProductArgs& args) {
  if (args.m == 0) return;
  int64_t columns = 0;
  for (const WeightPart& part : args.parts) columns = std::max(columns, part.column + part.n);
  if (columns % kPanel == 0 && columns <= kPackedRowsLimit) return product_with_transpose<T>(args, columns);
  assert(args.parts.size() == 1 || columns <= kPackedRowsLimit || columns % 2 == 0);
  const int64_t step = args.parts.size() == 1 ? std::min(columns, kPackedRowsLimit) : columns;
  const bool several_steps = step < columns;
  const int64_t blocks = (args.k + kBlockColumns - 1) / kBlockColumns;
  // Rows are split as well where there are many: nine blocks over two threads would leave one idle.
  const int64_t row_tasks = args.m >= 8 * kChunkRows / 2 ? 2 : 1;
  const int64_t task_rows = ((args.m + row_tasks - 1) / row_tasks + kTileRows - 1) / kTileRows * kTileRows;
  const int64_t panel_stride = (step + kPanel) * kPanel;
  std::vector<Run> runs = row_runs(args, 1);

  parallel_for(blocks * row_tasks, [&](int64_t task) {
    const int64_t j = task / row_tasks * kBlockColumns;
    const int64_t count = std::min(kBlockColumns, args.k - j);
    const int panels = static_cast<int>((count + kPanel - 1) / kPanel);
    const int64_t begin = task % row_tasks * task_rows;
    const int64_t end = std::min(args.m, begin + task_rows);
    if (begin >= end) return;
    T* packed =
        static_cast<T*>(thread_scratch(kPanelSlot, kTilePanels * panel_stride * static_cast<int64_t>(sizeof(T))));
    float* sums =
        several_steps ? static_cast<float*>(thread_scratch(kSumSlot, (end - begin) * kBlockColumns * 4)) : nullptr;
    for (int64_t n0 = 0; n0 < columns; n0 += step) {
      const int64_t rows_of_w = std::min(step, columns - n0);
      const bool last_step = n0 + step >= columns;
      for (int p = 0; p < panels; ++p) {
        gather_transposed<T>(args.parts, args.k, n0, rows_of_w, j / kPanel + p, packed + p * panel_stride);
      }
      for (const Run& run : runs) {
        for_tiles(std::max(begin, run.begin), std::min(end, run.end), [&](int64_t row, int rows) {
          TileArgs tile;
          tile.a = row_of<T>(args.a, args.lda, row) + n0;
          tile.lda = args.lda;
          for (int p = 0; p < panels; ++p) tile.b[p] = packed + p * panel_stride;
          tile.k = rows_of_w + (rows_of_w & 1);
          float* sum = several_steps ? sums + (row - begin) * kBlockColumns : nullptr;
          if (n0 > 0) {
            tile.init = sum;
            tile.ldinit = kBlockColumns;
          }
          if (last_step) {
            if (run.graft[0] != nullptr) set_graft<T>(tile, *run.graft[0], row, j, panels);
            set_output<T>(tile, args, row, j, count);
          } else {
            tile.c = sum;
            tile.ldc = kBlockColumns;
            tile.c_is_float = true;
            tile.n = static_cast<int>(panels * kPanel);
          }
          typed_kernels<T>().tile[rows - 1][panels - 1](tile);
        });
      }
    }
  });
}

template <class T>
void shrink(std::span<const Shrink> jobs) {
  const ShrinkTasks<T> tasks(jobs);
  parallel_for(tasks.count(), [&](int64_t i) { tasks.run(i); });
}

template <class T>
void accumulate_outer(const T* left_t, int64_t ld_left, int64_t r, const T* right, int64_t ld_right, int64_t m,
                      int64_t n, float* c, int64_t ldc) {
  if (m == 0) return;
  const int64_t blocks = (n + kBlockColumns - 1) / kBlockColumns;
  const int64_t even = m + (m & 1);
  parallel_for(blocks, [&](int64_t block) {
    const int64_t j = block * kBlockColumns;
    const int64_t count = std::min(kBlockColumns, n - j);
    const int panels = static_cast<int>((count + kPanel - 1) / kPanel);
    T* packed =
        static_cast<T*>(thread_scratch(kPanelSlot, kTilePanels * even * kPanel * static_cast<int64_t>(sizeof(T))));
    for (int p = 0; p < panels; ++p) {
      typed_kernels<T>().pack_columns(right + j + p * kPanel, ld_right, std::min(kPanel, count - p * kPanel), m,
                                      packed + p * even * kPanel);
    }
    for_tiles(0, r, [&](int64_t row, int rows) {
      TileArgs tile;
      tile.a = left_t + row * ld_left;
      tile.lda = ld_left;
      for (int p = 0; p < panels; ++p) tile.b[p] = packed + p * even * kPanel;
      tile.k = even;
      tile.c = c + row * ldc + j;
      tile.ldc = ldc;
      tile.add = c + row * ldc + j;
      tile.ldadd = ldc;
      tile.c_is_float = true;
      tile.n = static_cast<int>(count);
      typed_kernels<T>().tile[rows - 1][panels - 1](tile);
    });
  });
}

namespace {
void convert(const float* from, int64_t n, float* to) { std::memcpy(to, from, static_cast<size_t>(n) * 4); }
void convert(const float* from, int64_t n, bf16* to) {
  for (int64_t i = 0; i < n; ++i) to[i] = to_bf16(from[i]);
}
}  // namespace

template <class T>
void pack(const float* w, int64_t ldw, int64_t n, int64_t k, T* packed) {
  const int64_t panels = (n + kPanel - 1) / kPanel;
  parallel_for(panels, [&](int64_t p) {
    const int64_t rows = std::min(kPanel, n - p * kPanel);
    std::vector<T> row_major(static_cast<size_t>(rows * k));
    for (int64_t r = 0; r < rows; ++r) convert(w + (p * kPanel + r) * ldw, k, row_major.data() + r * k);
    typed_kernels<T>().pack_rows(row_major.data(), k, rows, k, packed + p * panel_elements(k));
  });
}

template <class T>
void pack_transpose(const float* src, int64_t lds, int64_t n, int64_t k, T* packed) {
  const int64_t panels = (n + kPanel - 1) / kPanel;
  std::vector<T> rows(static_cast<size_t>(k * kPanel));
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t columns = std::min(kPanel, n - p * kPanel);
    for (int64_t i = 0; i < k; ++i) convert(src + i * lds + p * kPanel, columns, rows.data() + i * kPanel);
    typed_kernels<T>().pack_columns(rows.data(), kPanel, columns, k, packed + p * panel_elements(k));
  }
}

template <class T>
void unpack_row(const T* packed, int64_t k, int64_t row, float* out) {
  constexpr int64_t kWidth = sizeof(T) == 2 ? 2 : 1;
  const T* panel = packed + row / kPanel * panel_elements(k) + row % kPanel * kWidth;
  for (int64_t i = 0; i < k; ++i) out[i] = to_float(panel[i / kWidth * kWidth * kPanel + i % kWidth]);
}

#define GRAFT_INSTANTIATE(T)                                                                                           \
  template void product<T>(const ProductArgs&);                                                                        \
  template void product_transposed<T>(const ProductArgs&);                                                             \
  template void shrink<T>(std::span<const Shrink>);                                                                    \
  template void accumulate_outer<T>(const T*, int64_t, int64_t, const T*, int64_t, int64_t, int64_t, float*, int64_t); \
  template void pack<T>(const float*, int64_t, int64_t, int64_t, T*);                                                  \
  template void pack_transpose<T>(const float*, int64_t, int64_t, int64_t, T*);                                        \
  template void unpack_row<T>(const T*, int64_t, int64_t, float*);
GRAFT_INSTANTIATE(float)
GRAFT_INSTANTIATE(bf16)
#undef GRAFT_INSTANTIATE

}  // namespace graft::ops::cpu
