#pragma once

#include <cstdint>

#include "recipe/training_config.h"

namespace graft::recipe {

enum class Decay { kConstant, kLinear, kCosine, kRestarts, kPolynomial, kExponential, kWsd };
enum class DecayShape { kLinear, kSqrt, kCosine };

// The learning rate as a pure function of the step, as transformers' get_constant, linear, cosine and
// polynomial_decay_schedule_with_warmup and get_wsd_schedule compute it; kRestarts is torch's
// CosineAnnealingWarmRestarts behind the warm-up; kExponential is Ludwig's. The warm-up rises from 0 in a straight
// line.
struct LearningRateSchedule {
  Decay decay = Decay::kConstant;
  double base = 0;  // the highest rate
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;
  double end = 0;                          // the lowest rate; not of kConstant and kExponential
  int64_t first_cycle = 1;                 // kRestarts: steps
  int64_t cycle_growth = 1;                // kRestarts: each cycle is this times as long as the one before
  double power = 1;                        // kPolynomial
  int64_t falling_steps = 0;               // kWsd: the last ones
  DecayShape shape = DecayShape::kLinear;  // kWsd
  double rate = 1;                         // kExponential: the factor of every `rate_steps` steps
  int64_t rate_steps = 1;
  bool staircase = false;

  [[nodiscard]] double at(int64_t step) const;  // of optimizer step `step`, from 0
  // Of what lies between `end` and `base`, behind the warm-up. Not of kConstant and kExponential.
  [[nodiscard]] double factor(int64_t step) const;
};

// When things happen during a run, in optimizer steps.
struct RunSchedule {
  int64_t total_steps = 0;
  int64_t evaluate_every = 0;
  int64_t checkpoint_every = 0;
  LearningRateSchedule learning_rate;
};

// steps_in_epochs: all steps that trainer.epochs hold; steps_in_epoch: those of the first one.
RunSchedule run_schedule(const TrainerConfig& trainer, int64_t steps_in_epochs, int64_t steps_in_epoch);

}  // namespace graft::recipe
