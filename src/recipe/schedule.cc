#include "recipe/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace graft::recipe {

namespace {

double ratio(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, whole));
}

double cosine(double progress) { return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress))); }

double exponential(const LearningRateSchedule& schedule, int64_t step) {
  const double exponent = 1 + ratio(step, schedule.rate_steps);
  return std::pow(schedule.rate, schedule.staircase ? std::ceil(exponent) : exponent);
}

double restarts(const LearningRateSchedule& schedule, int64_t step) {
  int64_t cycle = std::max<int64_t>(1, schedule.first_cycle);
  if (schedule.cycle_growth <= 1) return cosine(ratio(step % cycle, cycle));
  while (step >= cycle) {
    step -= cycle;
    cycle *= schedule.cycle_growth;  // at most step times growth: no overflow
  }
  return cosine(ratio(step, cycle));
}

double wsd(const LearningRateSchedule& schedule, int64_t step) {
  const int64_t first = std::max(schedule.warmup_steps, schedule.total_steps - schedule.falling_steps);
  if (step >= schedule.total_steps) return 0.0;
  if (step < first) return 1.0;
  const double progress = ratio(step - first, schedule.total_steps - first);
  if (schedule.shape == DecayShape::kCosine) return cosine(progress);
  return schedule.shape == DecayShape::kSqrt ? 1.0 - std::sqrt(progress) : 1.0 - progress;
}

Decay decay_of(const SchedulerConfig& scheduler) {
  const std::string name = scheduler.decay.value_or("constant");
  if (name == "linear") return Decay::kLinear;
  if (name == "cosine") return scheduler.t_0 ? Decay::kRestarts : Decay::kCosine;
  if (name == "polynomial") return Decay::kPolynomial;
  if (name == "exponential") return Decay::kExponential;
  return name == "wsd" ? Decay::kWsd : Decay::kConstant;
}

DecayShape shape_of(const std::string& name) {
  if (name == "cosine") return DecayShape::kCosine;
  return name == "1-sqrt" ? DecayShape::kSqrt : DecayShape::kLinear;
}

int64_t whole_steps(double steps) { return static_cast<int64_t>(std::ceil(std::min(steps, 1e15))); }

}  // namespace

double LearningRateSchedule::at(int64_t step) const {
  if (step < warmup_steps) return base * ratio(step, warmup_steps);
  if (decay == Decay::kConstant) return base;
  if (decay == Decay::kExponential) return base * exponential(*this, step - warmup_steps);
  return end + (base - end) * factor(step);
}

double LearningRateSchedule::factor(int64_t step) const {
  const double left = std::max(0.0, ratio(total_steps - step, total_steps - warmup_steps));
  if (decay == Decay::kLinear) return left;
  if (decay == Decay::kPolynomial) return std::pow(left, power);
  if (decay == Decay::kWsd) return wsd(*this, step);
  if (decay == Decay::kRestarts) return restarts(*this, step - warmup_steps);
  return cosine(ratio(step - warmup_steps, total_steps - warmup_steps));
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
  rate.decay = decay_of(scheduler);
  rate.end = scheduler.eta_min;
  rate.first_cycle = scheduler.t_0.value_or(1);
  rate.cycle_growth = scheduler.t_mult;
  rate.power = scheduler.power;
  rate.falling_steps = whole_steps(scheduler.decay_fraction * static_cast<double>(schedule.total_steps));
  rate.shape = shape_of(scheduler.decay_shape);
  rate.rate = scheduler.decay_rate;
  rate.rate_steps = scheduler.decay_steps;
  rate.staircase = scheduler.staircase;
  const double warmup = scheduler.warmup_fraction > 0
                            ? scheduler.warmup_fraction * static_cast<double>(schedule.total_steps)
                            : scheduler.warmup_evaluations * static_cast<double>(schedule.evaluate_every);
  rate.warmup_steps = whole_steps(warmup);
  return schedule;
}

}  // namespace graft::recipe
