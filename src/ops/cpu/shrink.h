#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/cpu/gemm_blocks.h"

namespace graft::ops::cpu {

// The low-rank projections of a batch's adapters, cut into tasks.
template <class T>
class ShrinkTasks {
 public:
  explicit ShrinkTasks(std::span<const Shrink> jobs) {
    for (const Shrink& job : jobs) {
      for (int64_t row = job.row_begin; row < job.row_end; row += kChunkRows) {
        tasks_.push_back({&job, row, std::min(job.row_end, row + kChunkRows)});
      }
    }
  }

  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(tasks_.size()); }

  void run(int64_t i) const {
    const Task& task = tasks_[static_cast<size_t>(i)];
    const Shrink& job = *task.job;
    // Few rows of many adapters: the next adapter comes from memory meanwhile.
    const int64_t next = i + parallel_threads();
    const bool ask = task.end - task.begin <= kTileRows && next < count();
    for (int64_t j = 0; j < job.n; j += kBlockColumns) {
      const int64_t columns = std::min(kBlockColumns, job.n - j);
      const int panels = static_cast<int>((columns + kPanel - 1) / kPanel);
      const int64_t offset = j / kPanel * panel_elements(job.k);
      const bool narrow = panels == 1 && !ask;
      for_tiles(
          task.begin, task.end,
          [&](int64_t row, int rows) {
            TileArgs tile;
            tile.a = row_of<T>(job.x, job.ldx, row);
            tile.lda = job.ldx;
            for (int p = 0; p < panels; ++p) {
              tile.b[p] = static_cast<const T*>(job.packed) + offset + p * panel_elements(job.k);
            }
            tile.k = job.k;
            tile.alpha = job.alpha;
            tile.alphas = job.alphas == nullptr ? nullptr : job.alphas + j;
            if (ask) {
              tile.ahead = static_cast<const T*>(tasks_[static_cast<size_t>(next)].job->packed) + offset;
              tile.ahead_bytes = panels * panel_elements(job.k) * static_cast<int64_t>(sizeof(T));
            }
            tile.c = static_cast<T*>(job.t) + row * job.ldt + j;
            tile.ldc = job.ldt;
            tile.n = static_cast<int>(columns);
            const auto& kernels = typed_kernels<T>();
            narrow ? kernels.narrow_tile[rows - 1](tile) : kernels.tile[rows - 1][panels - 1](tile);
          },
          narrow ? kNarrowRows : kTileRows);
    }
  }

 private:
  struct Task {
    const Shrink* job;
    int64_t begin, end;
  };
  std::vector<Task> tasks_;
};

// Runs block(0) .. block(blocks - 1) of a product, and its shrinks: before, or side by side where no block reads what
// they give (`wide`, see wide_sums, and no long run with an adapter). Shrinks wait for memory, blocks for
// multiply-adds: in turn they fill each other's gaps.
template <class T, class F>
void run_with_shrinks(const ProductArgs& args, std::span<const Run> runs, const float* wide, int64_t blocks,
                      const F& block) {
  const ShrinkTasks<T> shrinks(args.shrinks);
  const auto reads_in_block = [](const Run& run) {
    return !is_short(run) &&
           std::any_of(run.graft.begin(), run.graft.end(), [](const Graft* g) { return g != nullptr; });
  };
  if (wide == nullptr || std::any_of(runs.begin(), runs.end(), reads_in_block)) {
    parallel_for(shrinks.count(), [&](int64_t i) { shrinks.run(i); });
    parallel_for(blocks, block);
    return;
  }
  const int64_t paired = std::min(shrinks.count(), blocks);
  parallel_for(shrinks.count() + blocks, [&](int64_t i) {
    const bool in_pairs = i < 2 * paired;
    const bool shrinks_turn = in_pairs ? i % 2 == 0 : shrinks.count() > blocks;
    const int64_t index = in_pairs ? i / 2 : i - paired;
    shrinks_turn ? shrinks.run(index) : block(index);
  });
}

// A product from its blocks: block(runs, column block, row_begin, row_end, wide) computes one block of columns of a
// chunk of rows, `wide` being where its sums [m, 64] go if short runs are finished apart, else null.
template <class T, class F>
void product_of_blocks(const ProductArgs& args, const F& block) {
  const std::vector<ColumnBlock> blocks = column_blocks(args.parts);
  const std::vector<Run> runs = row_runs(args, args.parts.size());
  const int64_t chunks = (args.m + kChunkRows - 1) / kChunkRows;
  float* wide = wide_sums(args, runs, blocks.size());
  run_with_shrinks<T>(args, runs, wide, static_cast<int64_t>(blocks.size()) * chunks, [&](int64_t task) {
    const int64_t begin = task % chunks * kChunkRows;
    const int64_t index = task / chunks;
    block(std::span<const Run>(runs), blocks[static_cast<size_t>(index)], begin, std::min(args.m, begin + kChunkRows),
          wide == nullptr ? nullptr : wide + index * args.m * kBlockColumns);
  });
  if (wide != nullptr) finish_short_runs<T>(args, runs, blocks, wide);
}

}  // namespace graft::ops::cpu
