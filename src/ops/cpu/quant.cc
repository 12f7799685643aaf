#include "ops/cpu/quant.h"

#include <algorithm>
#include <vector>

#include "ops/cpu/gemm_blocks.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/shrink.h"

namespace graft::ops::cpu {

namespace {

constexpr int64_t kSerialRows = 4;  // as few are quantised sooner than handed to another thread
constexpr int64_t kTaskRows = 4;
constexpr int64_t kNear = 2 * kInt8Record;  // bytes

// The activations of a product, quantised. Memory is the calling thread's scratch.
struct QuantisedRows {
  int64_t group = 0;
  int64_t groups = 0;
  int8_t* q = nullptr;     // [m, groups * group]
  float* scale = nullptr;  // [m, groups]
  int32_t* sum = nullptr;  // [m, groups]
};

template <class T>
QuantisedRows quantise_rows(const ProductArgs& args) {
  QuantisedRows rows;
  rows.group = quant_group(args.format);
  rows.groups = quant_groups(args.format, args.k);
  const int64_t cells = args.m * rows.groups;
  auto* memory = static_cast<char*>(thread_scratch(kQuantSlot, cells * (rows.group + 8)));
  rows.q = reinterpret_cast<int8_t*>(memory);
  rows.scale = reinterpret_cast<float*>(memory + cells * rows.group);
  rows.sum = reinterpret_cast<int32_t*>(memory + cells * (rows.group + 4));
  const auto quantise = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      typed_kernels<T>().quantise_row(row_of<T>(args.a, args.lda, row), args.k, rows.group, rows.groups,
                                      rows.q + row * rows.groups * rows.group, rows.scale + row * rows.groups,
                                      rows.sum + row * rows.groups);
    }
  };
  if (args.m <= kSerialRows) {
    quantise(0, args.m);
  } else {
    parallel_for((args.m + kTaskRows - 1) / kTaskRows,
                 [&](int64_t task) { quantise(task * kTaskRows, std::min(args.m, (task + 1) * kTaskRows)); });
  }
  return rows;
}

// No adapter has anything to add to the block's base product.
bool is_finished_by_tiles(std::span<const Run> touched, const ColumnBlock& block, const float* wide) {
  if (touched.size() != 1 || (wide != nullptr && is_short(touched.front()))) return false;
  return touched.front().graft[static_cast<size_t>(block.part)] == nullptr;
}

// One block of columns of rows [begin, end): base products as float32, then adapters, additions and conversion.
template <class T>
void quant_block(const ProductArgs& args, const QuantisedRows& rows, std::span<const Run> runs,
                 const ColumnBlock& block, int64_t begin, int64_t end, float* wide) {
  const WeightPart& part = args.parts[static_cast<size_t>(block.part)];
  const int panels = static_cast<int>((block.count + kPanel - 1) / kPanel);
  // A few rows stream the weights: the wider the better. Of many rows each tile keeps its sums in registers.
  const int width = end - begin <= kTileRows / 2 ? kTilePanels : 2;
  const QuantKernels& quant = kernels().quant;
  const auto& tiles = args.format == WeightFormat::kInt8 ? quant.int8_tile : quant.int4_tile;
  const std::span<const Run> touched = runs_of_rows(runs, begin, end);
  const bool finished = is_finished_by_tiles(touched, block, wide);
  float* sums = finished ? nullptr : block_sums(wide, begin, end);
  const int64_t panel_bytes = quant_panel_bytes(args.format, args.k);
  const char* first = static_cast<const char*>(part.packed) + block.first / kPanel * panel_bytes;
  QuantTileArgs tile;
  tile.groups = rows.groups;
  tile.ldq = rows.groups * rows.group;
  tile.ldg = rows.groups;
  tile.near = end - begin <= kTileRows ? kNear : 0;
  const NextBlock next(first, kTilePanels * panel_bytes, begin, end, args.m);
  for_tiles(begin, end, [&](int64_t row, int count) {
    next.set(tile, row);
    tile.q = rows.q + row * tile.ldq;
    tile.scale = rows.scale + row * tile.ldg;
    tile.sum = rows.sum + row * tile.ldg;
    for (int p = 0; p < panels; p += width) {
      const int panels_here = std::min(width, panels - p);
      for (int i = 0; i < panels_here; ++i) tile.b[i] = first + (p + i) * panel_bytes;
      if (finished) {
        set_output<T>(tile, args, row, part.column + block.first + p * kPanel, block.count - p * kPanel);
      } else {
        tile.c = sums + (row - begin) * kBlockColumns + p * kPanel;
        tile.ldc = kBlockColumns;
        tile.n = static_cast<int>(panels_here * kPanel);
      }
      tiles[count - 1][panels_here - 1](tile);
      tile.ahead = nullptr;
    }
  });
  if (!finished) finish_block<T>(args, touched, block, begin, end, sums, wide != nullptr);
}

}  // namespace

template <class T>
void quant_product(const ProductArgs& args) {
  const QuantisedRows rows = quantise_rows<T>(args);
  product_of_blocks<T>(args, [&](std::span<const Run> runs, const ColumnBlock& block, int64_t begin, int64_t end,
                                 float* wide) { quant_block<T>(args, rows, runs, block, begin, end, wide); });
}

template void quant_product<float>(const ProductArgs&);
template void quant_product<bf16>(const ProductArgs&);

}  // namespace graft::ops::cpu
