#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/cpu/gemm.h"
#include "ops/cpu/parallel.h"

// How a product is cut into tasks, runs of rows with one adapter, and register tiles: what products over dense and over
// quantised weights share.
namespace graft::ops::cpu {

inline constexpr int64_t kBlockColumns = kTilePanels * kPanel;
inline constexpr int64_t kChunkRows = 16 * kTileRows;  // rows of a task
// Slots of thread_scratch (1 belongs to attention).
inline constexpr int kPanelSlot = 0, kSumSlot = 2, kQuantSlot = 3, kWideSlot = 4, kTransposedSlot = 5;

// 64 columns of one part.
struct ColumnBlock {
  int64_t part;
  int64_t first;  // column within the part
  int64_t count;
};

inline std::vector<ColumnBlock> column_blocks(std::span<const WeightPart> parts) {
  std::vector<ColumnBlock> blocks;
  for (size_t p = 0; p < parts.size(); ++p) {
    for (int64_t j = 0; j < parts[p].n; j += kBlockColumns) {
      blocks.push_back({static_cast<int64_t>(p), j, std::min(kBlockColumns, parts[p].n - j)});
    }
  }
  return blocks;
}

// Rows that have the same adapter.
struct Run {
  int64_t begin, end;
  std::vector<const Graft*> graft;  // by part, nullptr where none
};

inline std::vector<Run> row_runs(const ProductArgs& args, size_t parts) {
  std::vector<int64_t> cuts = {0, args.m};
  for (const Graft& g : args.grafts) {
    cuts.push_back(g.row_begin);
    cuts.push_back(g.row_end);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<Run> runs;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    runs.push_back({cuts[i], cuts[i + 1], std::vector<const Graft*>(parts, nullptr)});
  }
  for (const Graft& g : args.grafts) {
    for (Run& run : runs) {
      if (run.begin >= g.row_begin && run.end <= g.row_end) run.graft[static_cast<size_t>(g.part)] = &g;
    }
  }
  return runs;
}

template <class T>
const T* row_of(const void* base, int64_t ld, int64_t row) {
  return static_cast<const T*>(base) + row * ld;
}

template <class T>
void set_graft(TileArgs& tile, const Graft& graft, int64_t row, int64_t column, int panels) {
  tile.a2 = row_of<T>(graft.t, graft.ldt, row);
  tile.lda2 = graft.ldt;
  tile.k2 = graft.rank;
  for (int p = 0; p < panels; ++p) {
    tile.b2[p] = static_cast<const T*>(graft.b) + (column / kPanel + p) * panel_elements(graft.rank);
  }
}

// Where a tile's results go: column `column` of c and add.
template <class T, class Tile>
void set_output(Tile& tile, const ProductArgs& args, int64_t row, int64_t column, int64_t count) {
  tile.n = static_cast<int>(count);
  tile.c_is_float = args.c_is_float;
  tile.ldc = args.ldc;
  if (args.c_is_float) {
    tile.c = static_cast<float*>(args.c) + row * args.ldc + column;
  } else {
    tile.c = static_cast<T*>(args.c) + row * args.ldc + column;
  }
  tile.add = args.add == nullptr ? nullptr : args.add + row * args.ldadd + column;
  tile.ldadd = args.ldadd;
}

// The block of columns that this thread is likely to take next, in equal shares for the tiles of the last chunk of
// rows: weights come from memory, and should have come by then. A lone tile is over too soon for that.
class NextBlock {
 public:
  // `block` holds `bytes`, blocks lie one after the other; rows [begin, end) of m.
  NextBlock(const void* block, int64_t bytes, int64_t begin, int64_t end, int64_t m)
      : next_(end == m && end - begin > kTileRows ? static_cast<const char*>(block) + parallel_threads() * bytes
                                                  : nullptr),
        begin_(begin),
        share_((bytes / ((end - begin + kTileRows - 1) / kTileRows) + 63) / 64 * 64) {}
  template <class Tile>
  void set(Tile& tile, int64_t row) const {
    if (next_ == nullptr) return;
    tile.ahead = next_ + (row - begin_) / kTileRows * share_;
    tile.ahead_bytes = share_;
  }

 private:
  const char* next_;
  int64_t begin_;
  int64_t share_;
};

// Calls tile(row, rows) over [begin, end) in tiles of at most `largest` rows.
template <class F>
void for_tiles(int64_t begin, int64_t end, const F& tile, int largest = kTileRows) {
  for (int64_t row = begin; row < end; row += largest) {
    tile(row, static_cast<int>(std::min<int64_t>(largest, end - row)));
  }
}

// The runs that rows [begin, end) belong to.
inline std::span<const Run> runs_of_rows(std::span<const Run> runs, int64_t begin, int64_t end) {
  const auto overlaps = [&](const Run& run) { return run.begin < end && run.end > begin; };
  const auto first = std::find_if(runs.begin(), runs.end(), overlaps);
  return {first, std::find_if_not(first, runs.end(), overlaps)};
}

// sums [end - begin, 64] of the base product -> c: a run takes its chain up again with its adapter's terms.
template <class T>
void finish_run(const ProductArgs& args, const Run& run, const ColumnBlock& block, int64_t begin, int64_t end,
                const float* sums) {
  const WeightPart& part = args.parts[static_cast<size_t>(block.part)];
  const int panels = static_cast<int>((block.count + kPanel - 1) / kPanel);
  const Graft* graft = run.graft[static_cast<size_t>(block.part)];
  for_tiles(std::max(begin, run.begin), std::min(end, run.end), [&](int64_t row, int rows) {
    TileArgs tile;
    tile.init = sums + (row - begin) * kBlockColumns;
    tile.ldinit = kBlockColumns;
    if (graft != nullptr) set_graft<T>(tile, *graft, row, block.first, panels);
    set_output<T>(tile, args, row, part.column + block.first, block.count);
    typed_kernels<T>().tile[rows - 1][panels - 1](tile);
  });
}

// A batch of many adapters has runs of a row or few each. Finished block by block they would read a few lines of every
// adapter in turn, from memory and at its latency; finished run by run each adapter is read from one end to the other.
inline constexpr int64_t kShortRun = 8;
inline constexpr int64_t kManyRuns = 3;
inline bool is_short(const Run& run) { return run.end - run.begin <= kShortRun; }
inline bool has_many_short(std::span<const Run> runs) {
  return std::count_if(runs.begin(), runs.end(), is_short) >= kManyRuns;
}

// The base product's sums of a whole product, [blocks][m, 64], where short runs are finished apart; else null.
inline float* wide_sums(const ProductArgs& args, std::span<const Run> runs, size_t blocks) {
  if (!has_many_short(runs)) return nullptr;
  return static_cast<float*>(thread_scratch(kWideSlot, static_cast<int64_t>(blocks) * args.m * kBlockColumns * 4));
}

// Where a block keeps the sums [end - begin, 64] of its rows.
inline float* block_sums(float* wide, int64_t begin, int64_t end) {
  if (wide != nullptr) return wide + begin * kBlockColumns;
  return static_cast<float*>(thread_scratch(kSumSlot, (end - begin) * kBlockColumns * 4));
}

// What a block finishes itself: all runs that it touches, but short ones where those are finished apart.
template <class T>
void finish_block(const ProductArgs& args, std::span<const Run> touched, const ColumnBlock& block, int64_t begin,
                  int64_t end, const float* sums, bool short_apart) {
  for (const Run& run : touched) {
    if (!short_apart || !is_short(run)) finish_run<T>(args, run, block, begin, end, sums);
  }
}

template <class T>
void finish_short_runs(const ProductArgs& args, std::span<const Run> runs, std::span<const ColumnBlock> blocks,
                       const float* wide) {
  constexpr int64_t kBlocksAhead = 2;
  parallel_for(static_cast<int64_t>(runs.size()), [&](int64_t task) {
    const Run& run = runs[static_cast<size_t>(task)];
    if (!is_short(run)) return;
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (const Graft* graft = run.graft[static_cast<size_t>(blocks[i].part)]; graft != nullptr) {
        const int64_t bytes = kTilePanels * panel_elements(graft->rank) * static_cast<int64_t>(sizeof(T));
        const char* ahead =
            static_cast<const char*>(graft->b) + (blocks[i].first / kBlockColumns + kBlocksAhead) * bytes;
        for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(ahead + line, 0, 2);
      }
      finish_run<T>(args, run, blocks[i], 0, args.m, wide + static_cast<int64_t>(i) * args.m * kBlockColumns);
    }
  });
}

}  // namespace graft::ops::cpu
