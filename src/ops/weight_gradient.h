#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "ops/weight.h"

namespace graft::ops {

// Rows of W in a block of a gradient, and at most so many of its columns.
inline constexpr int64_t kGradientRows = 64, kGradientColumns = 192;

// A piece of a weight's gradient, transposed: element (first_row + r, first_column + k) of the part's dW, which is
// [n, in], is values[k * kGradientRows + r]. Rows past the part's n are zero. first_row is a multiple of 64,
// first_column of 16.
struct GradientBlock {
  int64_t part = 0;
  int64_t first_row = 0, rows = 0;
  int64_t first_column = 0, columns = 0;
  const float* values = nullptr;
};

// Takes a block; several threads call it at once, for different blocks in any order. It must not use thread_scratch.
using TakeGradient = std::function<double(const GradientBlock&)>;

// dW = dy^T x of all parts of a dense weight, block by block: the matrix never exists.
//   x [tokens, in], dy [tokens, out]: contiguous, of the weight's dtype
// Sums are float32, over tokens in order. Returns the sum of what `take` returned, in a fixed order.
double weight_gradient(const at::Tensor& x, const at::Tensor& dy, const LinearWeight& weight, const TakeGradient& take);

// The same of the table of an embedding, of an output projection, or of both where they are one.
struct OutputGradient {
  at::Tensor hidden;  // [rows, in] of the weight's dtype: what linear_cross_entropy() read
  std::span<const int32_t> labels;
  std::span<const float> losses;  // what it returned
  double scale = 1.0;
};
struct InputGradient {
  std::span<const int32_t> tokens;
  at::Tensor gradient;  // [tokens, in] float32: of embedding()
};
// Logits are computed again, 64 words at a time. Either may be null.
double vocabulary_gradient(const LinearWeight& table, const OutputGradient* output, const InputGradient* input,
                           const TakeGradient& take);

}  // namespace graft::ops
