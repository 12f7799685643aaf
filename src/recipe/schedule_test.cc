#include "recipe/schedule.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>
#include <string>

namespace graft::recipe {
namespace {

std::string run_python(const std::string& script) {
  const std::string command = "'" GRAFT_PYTHON "' -c '" + script + "'";
  FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output += static_cast<char>(c);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return output;
}

TEST(SlowLearningRate, EqualsTransformersSchedules) {
  std::istringstream lines(run_python(R"(
import torch, transformers as t
for kind in ("constant", "linear", "cosine"):
    for warmup, total in ((0, 10), (3, 20), (7, 7), (10, 5), (1, 1)):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        if kind == "constant":
            schedule = t.get_constant_schedule_with_warmup(optimizer, warmup)
        elif kind == "linear":
            schedule = t.get_linear_schedule_with_warmup(optimizer, warmup, total)
        else:
            schedule = t.get_cosine_schedule_with_warmup(optimizer, warmup, total)
        for step in range(total + 2):
            print(kind, warmup, total, step, repr(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            schedule.step()
)"));
  std::string kind;
  int64_t warmup = 0;
  int64_t total = 0;
  int64_t step = 0;
  double expected = 0;
  int compared = 0;
  while (lines >> kind >> warmup >> total >> step >> expected) {
    const Decay decay = kind == "linear" ? Decay::kLinear : kind == "cosine" ? Decay::kCosine : Decay::kConstant;
    const LearningRateSchedule schedule = {decay, 0.5, warmup, total};
    EXPECT_NEAR(schedule.at(step), expected, 1e-12) << kind << " " << warmup << " " << total << " " << step;
    ++compared;
  }
  EXPECT_EQ(compared, 3 * (12 + 22 + 9 + 7 + 3));
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

}  // namespace
}  // namespace graft::recipe
