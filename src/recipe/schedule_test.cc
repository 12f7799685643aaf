#include "recipe/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "base/test_python.h"

namespace graft::recipe {
namespace {

// One line for each step of each case: the case's number, the step, the rate.
TEST(SlowLearningRate, EqualsTransformersAndTorchAtEveryStep) {
  struct Case {
    std::string python;  // makes the schedule of `optimizer`
    LearningRateSchedule ours;
    int steps;
  };
  std::vector<Case> cases;
  const auto add = [&](const std::string& python, Decay decay, int64_t warmup, int64_t total, auto change) {
    LearningRateSchedule ours;
    ours.decay = decay;
    ours.base = 0.5;
    ours.warmup_steps = warmup;
    ours.total_steps = total;
    change(ours);
    cases.push_back({python, ours, static_cast<int>(total) + 2});
  };
  const auto plain = [](LearningRateSchedule&) {};
  for (const auto& [warmup, total] : {std::pair<int64_t, int64_t>{0, 10}, {3, 20}, {7, 7}, {10, 5}, {1, 1}}) {
    const std::string one = std::to_string(warmup);
    const std::string both = one + ", " + std::to_string(total) + ")";
    add("t.get_constant_schedule_with_warmup(optimizer, " + one + ")", Decay::kConstant, warmup, total, plain);
    add("t.get_linear_schedule_with_warmup(optimizer, " + both, Decay::kLinear, warmup, total, plain);
    add("t.get_cosine_schedule_with_warmup(optimizer, " + both, Decay::kCosine, warmup, total, plain);
  }
  for (const auto& [power, end] : {std::pair{1.0, 0.001}, {2.0, 0.01}, {0.5, 0.1}}) {
    add("t.get_polynomial_decay_schedule_with_warmup(optimizer, 4, 30, lr_end=" + std::to_string(end) +
            ", power=" + std::to_string(power) + ")",
        Decay::kPolynomial, 4, 30, [power = power, end = end](LearningRateSchedule& ours) {
          ours.power = power;
          ours.end = end;
        });
  }
  for (const auto& [name, shape] :
       {std::pair{"linear", DecayShape::kLinear}, {"1-sqrt", DecayShape::kSqrt}, {"cosine", DecayShape::kCosine}}) {
    const std::string type = std::string(", decay_type=\"") + name + "\")";
    add("t.get_wsd_schedule(optimizer, 5, 8, num_training_steps=40" + type, Decay::kWsd, 5, 40,
        [shape = shape](LearningRateSchedule& ours) {
          ours.falling_steps = 8;
          ours.shape = shape;
        });
    add("t.get_wsd_schedule(optimizer, 0, 40, num_training_steps=40, min_lr_ratio=0.2" + type, Decay::kWsd, 0, 40,
        [shape = shape](LearningRateSchedule& ours) {
          ours.falling_steps = 40;
          ours.end = 0.1;
          ours.shape = shape;
        });
  }
  add("t.get_cosine_with_hard_restarts_schedule_with_warmup(optimizer, 6, 36, num_cycles=3)", Decay::kRestarts, 6, 33,
      [](LearningRateSchedule& ours) { ours.first_cycle = 10; });
  add("torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5, 1, 0.05)", Decay::kRestarts, 0, 40,
      [](LearningRateSchedule& ours) {
        ours.end = 0.05;
        ours.first_cycle = 5;
      });
  add("torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2, 0.1)", Decay::kRestarts, 0, 60,
      [](LearningRateSchedule& ours) {
        ours.end = 0.1;
        ours.first_cycle = 3;
        ours.cycle_growth = 2;
      });
  for (const bool staircase : {false, true}) {
    const std::string exponent = staircase ? "math.ceil(1 + s / 7)" : "1 + s / 7";
    add("torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 0.9 ** (" + exponent + "))", Decay::kExponential, 0, 30,
        [staircase](LearningRateSchedule& ours) {
          ours.rate = 0.9;
          ours.rate_steps = 7;
          ours.staircase = staircase;
        });
  }
  std::string script = "import math, torch, transformers as t\nmakers = [\n";
  for (const Case& one : cases)
    script += "(" + std::to_string(one.steps) + ", lambda optimizer: " + one.python + "),\n";
  script += R"(]
for number, (steps, make) in enumerate(makers):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = make(optimizer)
    for step in range(steps):
        print(number, step, repr(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
)";
  std::istringstream lines(run_python(script));
  size_t number = 0;
  int64_t step = 0;
  double expected = 0;
  int compared = 0;
  while (lines >> number >> step >> expected) {
    ASSERT_LT(number, cases.size());
    EXPECT_NEAR(cases[number].ours.at(step), expected, 1e-12) << cases[number].python << " " << step;
    ++compared;
  }
  int all = 0;
  for (const Case& one : cases) all += one.steps;
  EXPECT_EQ(compared, all) << lines.str().substr(0, 400);
}

TEST(RunSchedule, CadencesFollowTheTrainer) {
  TrainerConfig trainer;
  trainer.learning_rate = 2e-4;
  RunSchedule run = run_schedule(trainer, 300, 100);
  EXPECT_EQ(run.total_steps, 300);
  EXPECT_EQ(run.checkpoint_every, 100);
  EXPECT_EQ(run.evaluate_every, 100);
  EXPECT_EQ(run.learning_rate.at(299), 2e-4);

  trainer.checkpoints_per_epoch = 3;
  trainer.train_steps = 50;
  trainer.learning_rate_scheduler.warmup_fraction = 0.05;
  trainer.learning_rate_scheduler.decay = "linear";
  run = run_schedule(trainer, 300, 100);
  EXPECT_EQ(run.total_steps, 50);
  EXPECT_EQ(run.checkpoint_every, 33);
  EXPECT_EQ(run.learning_rate.warmup_steps, 3);
  EXPECT_EQ(run.learning_rate.total_steps, 50);

  trainer.checkpoints_per_epoch = 0;
  trainer.steps_per_checkpoint = 20;
  trainer.evaluate_every = 10;
  trainer.learning_rate_scheduler.warmup_fraction = 0;
  trainer.learning_rate_scheduler.warmup_evaluations = 1.5;
  run = run_schedule(trainer, 300, 100);
  EXPECT_EQ(run.checkpoint_every, 20);
  EXPECT_EQ(run.evaluate_every, 10);
  EXPECT_EQ(run.learning_rate.warmup_steps, 15);
}

TEST(RunSchedule, TheDecayIsTheConfigs) {
  TrainerConfig trainer;
  trainer.learning_rate = 1.0;
  auto& scheduler = trainer.learning_rate_scheduler;
  scheduler.decay = "wsd";
  scheduler.decay_fraction = 0.25;
  scheduler.decay_shape = "1-sqrt";
  scheduler.eta_min = 0.1;
  const auto rate = [&] { return run_schedule(trainer, 100, 100).learning_rate; };
  EXPECT_EQ(rate().at(74), 1.0);
  EXPECT_NEAR(rate().at(84), 0.1 + 0.9 * (1 - std::sqrt(9 / 25.0)), 1e-12);
  scheduler.decay = "cosine";
  EXPECT_LT(rate().at(99), 0.11);
  scheduler.t_0 = 10;
  EXPECT_EQ(rate().at(90), 1.0);
  scheduler.t_mult = 3;
  EXPECT_EQ(rate().at(40), 1.0);
  EXPECT_LT(rate().at(39), 0.11);
  scheduler.decay = "polynomial";
  scheduler.power = 2;
  EXPECT_NEAR(rate().at(50), 0.1 + 0.9 * 0.25, 1e-12);
  scheduler.decay = "exponential";
  scheduler.decay_rate = 0.5;
  scheduler.decay_steps = 10;
  EXPECT_NEAR(rate().at(20), 0.125, 1e-12);
}

}  // namespace
}  // namespace graft::recipe
