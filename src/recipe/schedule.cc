#include "recipe/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace graft::recipe {

double LearningRateSchedule::at(int64_t step) const {
  const auto ratio = [](int64_t part, int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, whole));
  };
  if (step < warmup_steps) return base * ratio(step, warmup_steps);
  if (decay == Decay::kConstant) return base;
  if (decay == Decay::kLinear) return base * std::max(0.0, ratio(total_steps - step, total_steps - warmup_steps));
  const double progress = ratio(step - warmup_steps, total_steps - warmup_steps);
  return base * std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
}

RunSchedule run_schedule(const TrainerConfig& trainer, int64_t steps_in_epochs, int64_t steps_in_epoch) {
  RunSchedule schedule;
  schedule.total_steps = trainer.train_steps.value_or(steps_in_epochs);
  schedule.checkpoint_every = steps_in_epoch;
  if (trainer.steps_per_checkpoint > 0) schedule.checkpoint_every = trainer.steps_per_checkpoint;
  if (trainer.checkpoints_per_epoch > 0) {
    schedule.checkpoint_every = std::max<int64_t>(1, steps_in_epoch / trainer.checkpoints_per_epoch);
  }
  schedule.evaluate_every = trainer.evaluate_every.value_or(schedule.checkpoint_every);

  LearningRateSchedule& rate = schedule.learning_rate;
  const auto& scheduler = trainer.learning_rate_scheduler;
  rate.base = trainer.learning_rate;
  rate.total_steps = schedule.total_steps;
  if (scheduler.decay == "linear") rate.decay = Decay::kLinear;
  if (scheduler.decay == "cosine") rate.decay = Decay::kCosine;
  const double warmup = scheduler.warmup_fraction > 0
                            ? scheduler.warmup_fraction * static_cast<double>(schedule.total_steps)
                            : scheduler.warmup_evaluations * static_cast<double>(schedule.evaluate_every);
  rate.warmup_steps = static_cast<int64_t>(std::ceil(std::min(warmup, 1e15)));
  return schedule;
}

}  // namespace graft::recipe
