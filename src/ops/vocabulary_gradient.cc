#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>
#include <vector>

#include "ops/cpu/transpose.h"
#include "ops/dtype.h"
#include "ops/gradient_block.h"
#include "ops/weight_gradient.h"

namespace graft::ops {

namespace {

using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));

// e^x to about 1e-7, for x up to a little above 0; below -87 it is next to nothing, as it should be.
Floats exponential(Floats x) {
  const Floats lowest = Floats{} - 87.0F;
  x = x < lowest ? lowest : x;
  const Floats magic = Floats{} + 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const Floats n = (x * 1.44269504F + magic) - magic;
  const Floats r = (x - n * 0.693145752F) - n * 1.42860677e-6F;
  Floats p = Floats{} + 1.98756917e-4F;
  p = p * r + 1.39819994e-3F;
  p = p * r + 8.33345205e-3F;
  p = p * r + 4.16657962e-2F;
  p = p * r + 1.66666657e-1F;
  p = p * r + 5.00000000e-1F;
  p = p * r * r + r + 1.0F;
  const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
  return p * std::bit_cast<Floats>(power);
}

void store(const Floats& values, float* to) { std::memcpy(to, &values, sizeof values); }
void store(const Floats& values, cpu::bf16* to) {
  for (int i = 0; i < 4; ++i) to[i] = cpu::to_bf16(values[i]);
}
void store_one(float value, float* to) { *to = value; }
void store_one(float value, cpu::bf16* to) { *to = cpu::to_bf16(value); }

// The gradient of the logits of 64 words, from the losses of all rows.
template <class T>
class LogitGradient {
 public:
  LogitGradient(const LinearWeight& table, const OutputGradient& output)
      : table_(table), output_(output), rows_(output.hidden.size(0)), normalisers_(static_cast<size_t>(rows_)) {
    cpu::parallel_for(rows_, [&](int64_t row) {
      const auto i = static_cast<size_t>(row);
      normalisers_[i] = output_.losses[i] + logit_of(row, output_.labels[i]);
    });
  }

  [[nodiscard]] int64_t even_rows() const { return rows_ + (rows_ & 1); }

  // -> panels of 16 words [even rows][16] each, one after the other, in this thread's scratch.
  const T* panels(int64_t first, int64_t words) const {
    const int count = static_cast<int>((words + cpu::kPanel - 1) / cpu::kPanel);
    auto* gradients =
        static_cast<T*>(cpu::thread_scratch(kLogitSlot, even_rows() * kGradientRows * static_cast<int64_t>(sizeof(T))));
    cpu::for_tiles(0, rows_, [&](int64_t row, int rows) { tile_gradients(row, rows, first, words, count, gradients); });
    auto* panels = static_cast<T*>(
        cpu::thread_scratch(kLogitPanelSlot, even_rows() * kGradientRows * static_cast<int64_t>(sizeof(T))));
    for (int p = 0; p < count; ++p) {
      cpu::typed_kernels<T>().pack_columns(gradients + p * cpu::kPanel, kGradientRows, cpu::kPanel, rows_,
                                           panels + p * even_rows() * cpu::kPanel);
    }
    return panels;
  }

 private:
  [[nodiscard]] const T* panel(int64_t word) const {
    return static_cast<const T*>(table_.parts[0].packed) + word / cpu::kPanel * cpu::panel_elements(table_.in_features);
  }

  // The logits of `rows` rows and `count` panels of words -> out [rows, 64].
  void logits(int64_t row, int rows, int64_t first, int count, float* out) const {
    cpu::TileArgs tile;
    tile.a = data<T>(output_.hidden) + row * table_.in_features;
    tile.lda = table_.in_features;
    for (int p = 0; p < count; ++p) tile.b[p] = panel(first + p * cpu::kPanel);
    tile.k = table_.in_features;
    tile.c = out;
    tile.ldc = kGradientRows;
    tile.c_is_float = true;
    tile.n = static_cast<int>(count * cpu::kPanel);
    cpu::typed_kernels<T>().tile[rows - 1][count - 1](tile);
  }

  [[nodiscard]] float logit_of(int64_t row, int32_t label) const {
    float scores[kGradientRows];
    logits(row, 1, label / cpu::kPanel * cpu::kPanel, 1, scores);
    return scores[label % cpu::kPanel];
  }

  void tile_gradients(int64_t row, int rows, int64_t first, int64_t words, int count, T* gradients) const {
    float scores[cpu::kTileRows * kGradientRows];
    logits(row, rows, first, count, scores);
    const auto scale = static_cast<float>(output_.scale);
    for (int64_t r = 0; r < rows; ++r) {
      const auto i = static_cast<size_t>(row + r);
      T* to = gradients + (row + r) * kGradientRows;
      for (int64_t j = 0; j < count * cpu::kPanel; j += 4) {
        Floats x;
        std::memcpy(&x, scores + r * kGradientRows + j, sizeof x);
        store(exponential(x - normalisers_[i]) * scale, to + j);
      }
      // Padding would count as words with a logit of 0.
      for (int64_t j = words; j < count * cpu::kPanel; ++j) store_one(0.0F, to + j);
      const int64_t label = output_.labels[i] - first;
      if (label >= 0 && label < words) store_one(std::expm1(-output_.losses[i]) * scale, to + label);
    }
  }

  const LinearWeight& table_;
  const OutputGradient& output_;
  int64_t rows_;
  std::vector<float> normalisers_;  // log of the sum of exponentials, by row
};

// Positions of the batch, sorted by their token.
std::vector<int32_t> sorted_positions(std::span<const int32_t> tokens) {
  std::vector<int32_t> order(tokens.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return tokens[static_cast<size_t>(a)] < tokens[static_cast<size_t>(b)];
  });
  return order;
}

// Adds the gradients of the block's words, where they stand in the batch.
void add_embeddings(const InputGradient& input, const std::vector<int32_t>& order, const GradientBlock& block,
                    float* values) {
  const auto token = [&](int32_t position) { return input.tokens[static_cast<size_t>(position)]; };
  auto at = std::lower_bound(order.begin(), order.end(), block.first_row,
                             [&](int32_t position, int64_t word) { return token(position) < word; });
  for (; at != order.end() && token(*at) < block.first_row + block.rows; ++at) {
    const float* from = input.gradient.const_data_ptr<float>() + *at * input.gradient.size(1) + block.first_column;
    const int64_t row = token(*at) - block.first_row;
    for (int64_t k = 0; k < block.columns; ++k) values[k * kGradientRows + row] += from[k];
  }
}

template <class T>
double run(const LinearWeight& table, const OutputGradient* output, const InputGradient* input,
           const TakeGradient& take) {
  const int64_t in = table.in_features;
  std::optional<LogitGradient<T>> logits;
  at::Tensor hidden_t;
  int64_t ld = 0;
  if (output != nullptr && output->hidden.size(0) > 0) {
    logits.emplace(table, *output);
    ld = cpu::transposed_stride(logits->even_rows());
    hidden_t = at::empty({in, ld}, output->hidden.options());
    cpu::transpose(data<T>(output->hidden), in, output->hidden.size(0), in, mutable_data<T>(hidden_t), ld);
  }
  const std::vector<int32_t> order = input == nullptr ? std::vector<int32_t>() : sorted_positions(input->tokens);
  const std::vector<cpu::ColumnBlock> blocks = cpu::column_blocks(table.parts);
  std::vector<double> taken(blocks.size());
  cpu::parallel_for(static_cast<int64_t>(blocks.size()), [&](int64_t i) {
    const cpu::ColumnBlock& words = blocks[static_cast<size_t>(i)];
    const T* panels = logits ? logits->panels(words.first, words.count) : nullptr;
    const int count = static_cast<int>((words.count + cpu::kPanel - 1) / cpu::kPanel);
    auto* values = static_cast<float*>(cpu::thread_scratch(kGradientSlot, kGradientColumns * kGradientRows * 4));
    for (int64_t column = 0; column < in; column += kGradientColumns) {
      GradientBlock out{0, words.first, words.count, column, std::min(kGradientColumns, in - column), values};
      if (logits) {
        outer_block<T>(data<T>(hidden_t), ld, column, out.columns, panels, logits->even_rows() * cpu::kPanel, count,
                       logits->even_rows(), values);
      } else {
        std::fill(values, values + out.columns * kGradientRows, 0.0F);
      }
      if (input != nullptr) add_embeddings(*input, order, out, values);
      taken[static_cast<size_t>(i)] += take(out);
    }
  });
  return std::accumulate(taken.begin(), taken.end(), 0.0);
}

}  // namespace

double vocabulary_gradient(const LinearWeight& table, const OutputGradient* output, const InputGradient* input,
                           const TakeGradient& take) {
  TORCH_CHECK(table.format == cpu::WeightFormat::kDense && table.parts.size() == 1,
              "[vocabulary_gradient] the table must be one dense matrix");
  TORCH_CHECK(output == nullptr || (output->hidden.is_contiguous() && output->hidden.scalar_type() == table.dtype &&
                                    output->hidden.size(1) == table.in_features &&
                                    output->hidden.size(0) == static_cast<int64_t>(output->labels.size()) &&
                                    output->labels.size() == output->losses.size()),
              "[vocabulary_gradient] hidden must be contiguous [rows, ", table.in_features,
              "] with a label and a loss for each row");
  TORCH_CHECK(input == nullptr || (input->gradient.is_contiguous() && input->gradient.scalar_type() == at::kFloat &&
                                   input->gradient.size(0) == static_cast<int64_t>(input->tokens.size()) &&
                                   input->gradient.size(1) == table.in_features),
              "[vocabulary_gradient] the embedding's gradient must be contiguous float32 [tokens, ", table.in_features,
              "]");
  return table.dtype == at::kBFloat16 ? run<cpu::bf16>(table, output, input, take)
                                      : run<float>(table, output, input, take);
}

}  // namespace graft::ops
