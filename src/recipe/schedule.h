#pragma once

#include <cstdint>

#include "recipe/training_config.h"

namespace graft::recipe {

enum class Decay { kConstant, kLinear, kCosine };

// The learning rate as a pure function of the step, as transformers' get_constant_schedule_with_warmup,
// get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup compute it.
struct LearningRateSchedule {
  Decay decay = Decay::kConstant;
  double base = 0;  // the highest rate
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;

  [[nodiscard]] double at(int64_t step) const;  // of optimizer step `step`, from 0
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
