#pragma once

#include <cstdint>

#include "training/session.h"

namespace graft::training {

// Euclidean norm, summed in double over fixed chunks: the same bits for any number of threads.
double gradient_norm(const float* gradients, int64_t n);

struct AdamWState {
  float* parameters = nullptr;
  const float* gradients = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
  int64_t n = 0;
};

// One step of AdamW (Loshchilov and Hutter, 2019), as torch.optim.AdamW takes it. `step` counts from 1;
// gradients are multiplied by `gradient_scale` first.
void adamw_step(const AdamWState& state, const AdamWParams& params, int64_t step, double gradient_scale);

}  // namespace graft::training
