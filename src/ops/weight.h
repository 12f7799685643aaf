#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cpu/gemm.h"

namespace graft::ops {

// A projection's frozen weight, possibly several matrices that share an input (q, k, v; gate, up): the outputs stand
// beside each other, [tokens, out_features].
struct LinearWeight {
  at::ScalarType dtype = at::kFloat;  // of activations, and of the parts where they are dense: float32 or bfloat16
  cpu::WeightFormat format = cpu::WeightFormat::kDense;
  int64_t in_features = 0;
  int64_t out_features = 0;
  std::vector<cpu::WeightPart> parts;  // packed for the kernels
  std::shared_ptr<const void> owner;   // keeps the packed bytes alive: a mapped file, usually
};

// Packs dense parts, each [n, in], float32. For tests and small tools; models come packed from their prepared file.
LinearWeight pack_linear(const std::vector<at::Tensor>& parts, at::ScalarType dtype,
                         cpu::WeightFormat format = cpu::WeightFormat::kDense);
at::Tensor unpack_linear(const LinearWeight& weight);  // [out, in], in the weight's dtype; float32 where quantised

// Quantised weights -> the same values as dense parts of the weight's dtype, in memory of their own.
LinearWeight dequantised(const LinearWeight& weight);

// Row-major float32 [n, k] -> a part as `weight` stores it.
void pack_rows(const LinearWeight& weight, const float* from, int64_t n, int64_t k, void* to);
// Bytes of a part [n, k] as it is stored; row `row` of it, widened, -> out [k].
int64_t stored_bytes(const LinearWeight& weight, int64_t n, int64_t k);
void read_row(const LinearWeight& weight, const cpu::WeightPart& part, int64_t row, float* out);

// Low-rank factors of one part of a projection, in kernel form. Ranks are padded with zeros to an even number.
struct LoraPart {
  int64_t part = 0;
  int64_t column = 0;  // of t: where this part's rank begins
  int64_t rank = 0;    // even
  float scale = 1.0F;
  const void* b = nullptr;   // packed [n, rank]
  const void* bt = nullptr;  // packed [rank, n]; training only
  float* grad_bt = nullptr;  // [rank, n] float32, accumulated; training only
  // A DoRA (arXiv:2402.09353) multiplies the columns of this part, base and factors together, by m / ||W + scale B A||.
  const float* column_scales = nullptr;  // [n]; null: a LoRA
  const float* inverse_norms = nullptr;  // [n]: 1 / ||W + scale B A||, a constant of the gradient; training only
  float* grad_magnitude = nullptr;       // [n], accumulated; training only
};

// One adapter on one projection.
struct LoraLinear {
  std::vector<LoraPart> parts;
  int64_t total_rank = 0;       // columns of t
  const void* a = nullptr;      // packed [total_rank, in]: the A of all parts
  std::vector<float> scales;    // of each column of t, total_rank rounded up to 16
  const void* at = nullptr;     // packed [in, total_rank]; training only
  float* grad_a = nullptr;      // [total_rank, in] float32, accumulated; training only
  float dropout = 0.0F;         // of the input of A; training only
  uint64_t dropout_stream = 0;  // names the random numbers; training only
};

// Rows [row_begin, row_end) of a batch use one adapter. Rows of no segment use the base alone.
struct LoraSegment {
  int64_t row_begin = 0, row_end = 0;
  const LoraLinear* lora = nullptr;
};

}  // namespace graft::ops
