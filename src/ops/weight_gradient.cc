#include "ops/weight_gradient.h"

#include <ATen/ops/empty.h>

#include <numeric>
#include <vector>

#include "ops/cpu/transpose.h"
#include "ops/dtype.h"
#include "ops/gradient_block.h"

namespace graft::ops {

namespace {

// Panels of the rows' columns, for every 16 columns of every part: panel j begins at j * stride, k runs over tokens.
template <class T>
at::Tensor pack_rows_of(const at::Tensor& dy, const std::vector<cpu::ColumnBlock>& blocks, const LinearWeight& weight,
                        int64_t stride) {
  at::Tensor panels = at::empty({static_cast<int64_t>(blocks.size()) * cpu::kTilePanels, stride}, dy.options());
  T* to = mutable_data<T>(panels);
  cpu::parallel_for(static_cast<int64_t>(blocks.size()), [&](int64_t i) {
    const cpu::ColumnBlock& block = blocks[static_cast<size_t>(i)];
    const T* from = data<T>(dy) + weight.parts[static_cast<size_t>(block.part)].column + block.first;
    for (int64_t j = 0; j < block.count; j += cpu::kPanel) {
      cpu::typed_kernels<T>().pack_columns(from + j, dy.size(1), std::min(cpu::kPanel, block.count - j), dy.size(0),
                                           to + (i * cpu::kTilePanels + j / cpu::kPanel) * stride);
    }
  });
  return panels;
}

template <class T>
double run(const at::Tensor& x, const at::Tensor& dy, const LinearWeight& weight, const TakeGradient& take) {
  const int64_t tokens = x.size(0);
  const int64_t in = weight.in_features;
  const int64_t even = tokens + (tokens & 1);
  const int64_t ld = cpu::transposed_stride(even);
  const at::Tensor x_t = at::empty({in, ld}, x.options());
  cpu::transpose(data<T>(x), in, tokens, in, mutable_data<T>(x_t), ld);
  const std::vector<cpu::ColumnBlock> blocks = cpu::column_blocks(weight.parts);
  const int64_t stride = even * cpu::kPanel;
  const at::Tensor panels = pack_rows_of<T>(dy, blocks, weight, stride);

  const int64_t pieces = (in + kGradientColumns - 1) / kGradientColumns;
  std::vector<double> taken(blocks.size() * static_cast<size_t>(pieces));
  cpu::parallel_for(static_cast<int64_t>(taken.size()), [&](int64_t task) {
    const int64_t i = task / pieces;
    const cpu::ColumnBlock& block = blocks[static_cast<size_t>(i)];
    GradientBlock out;
    out.part = block.part;
    out.first_row = block.first;
    out.rows = block.count;
    out.first_column = task % pieces * kGradientColumns;
    out.columns = std::min(kGradientColumns, in - out.first_column);
    auto* values = static_cast<float*>(cpu::thread_scratch(kGradientSlot, kGradientColumns * kGradientRows * 4));
    outer_block<T>(data<T>(x_t), ld, out.first_column, out.columns, data<T>(panels) + i * cpu::kTilePanels * stride,
                   stride, static_cast<int>((block.count + cpu::kPanel - 1) / cpu::kPanel), even, values);
    out.values = values;
    taken[static_cast<size_t>(task)] = take(out);
  });
  return std::accumulate(taken.begin(), taken.end(), 0.0);
}

}  // namespace

double weight_gradient(const at::Tensor& x, const at::Tensor& dy, const LinearWeight& weight,
                       const TakeGradient& take) {
  TORCH_CHECK(weight.format == cpu::WeightFormat::kDense && x.dim() == 2 && dy.dim() == 2 && x.is_contiguous() &&
                  dy.is_contiguous() && x.size(0) == dy.size(0) && x.size(1) == weight.in_features &&
                  dy.size(1) == weight.out_features && x.scalar_type() == weight.dtype &&
                  dy.scalar_type() == weight.dtype,
              "[weight_gradient] x [tokens, ", weight.in_features, "] and dy [tokens, ", weight.out_features,
              "] must be contiguous and of the dtype of a dense weight");
  return weight.dtype == at::kBFloat16 ? run<cpu::bf16>(x, dy, weight, take) : run<float>(x, dy, weight, take);
}

}  // namespace graft::ops
