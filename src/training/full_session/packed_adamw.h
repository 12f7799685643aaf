#pragma once

#include <cstdint>
#include <vector>

#include "ops/weight_gradient.h"
#include "training/full_session/full_weights.h"
#include "training/optimizers/optimizer.h"
#include "training/optimizers/optimizers.h"

namespace graft::training {

struct PackedAdamWSettings {
  AdamWSettings adamw;
  // Moments of matrices as 8-bit codes with a scale for each 256 elements that lie beside each other in memory
  // (dynamic_code.h); otherwise float32. Vectors keep float32.
  bool eight_bit = true;
  uint64_t seed = 0;  // of the rounding
};

// AdamW on a model's packed weights, block of a gradient by block. bfloat16 weights are rounded stochastically: up or
// down with the probabilities that make the rounded value right on average, drawn by (seed, step, element), so that
// small updates are not lost and a resumed run draws the same.
class PackedAdamW {
 public:
  // `blocks`: of matrices, then of vectors; whether they decay. `weights` outlives this.
  PackedAdamW(const PackedAdamWSettings& settings, FullWeights& weights, std::vector<ParameterBlock> blocks);

  void begin_step(double learning_rate);
  void end_step() { ++steps_; }

  // Applies a block of a matrix's gradient times `scale`; different blocks may come from different threads. Returns the
  // sum of the squares of the gradient; not finite: nothing was changed.
  double apply(size_t matrix, const ops::GradientBlock& block, float scale = 1.0F);
  // A whole vector's gradient.
  double apply(size_t vector, std::span<const float> gradient, float scale = 1.0F);

  [[nodiscard]] int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  std::vector<StateTensor> state();

 private:
  struct Place {  // of a run of packed elements
    int64_t offset;
    int64_t count;
    size_t run;  // of 8-bit codes
  };
  template <class T>
  void apply_block(size_t matrix, const ops::GradientBlock& block, float scale);
  template <class T>
  void update(const AdamWStep& k, const Place& place, const float* gradient, float scale);
  void step_8bit(const AdamWStep& k, const Place& place, const float* gradient, float scale, float* weights);
  void round(int64_t offset, int64_t count, float* values) const;

  PackedAdamWSettings settings_;
  FullWeights& weights_;
  std::vector<ParameterBlock> blocks_;
  std::vector<AdamWStep> step_;    // of each block
  std::vector<size_t> first_run_;  // of each matrix
  int64_t steps_ = 0;
  std::vector<float> exp_avg_, exp_avg_sq_;
  std::vector<uint8_t> exp_avg_8bit_, exp_avg_sq_8bit_;
  std::vector<float> exp_avg_scale_, exp_avg_sq_scale_;
  std::vector<float> vector_exp_avg_, vector_exp_avg_sq_;
};

// Sum of the squares of a block's values, in a fixed order.
double sum_of_squares(const ops::GradientBlock& block);

}  // namespace graft::training
