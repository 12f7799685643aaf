#include "training/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/json.h"
#include "base/test_directory.h"
#include "training/toy_data.h"
#include "training/toy_session.h"

namespace graft::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int32_t kVocab = 12;
const std::vector<MicroBatch> kNoValidation;

class Silent final : public TrainObserver {
 public:
  void on_step(const StepReport& report) override {
    steps.push_back(report);
    if (step_hook) step_hook(report);
  }
  void on_evaluation(int64_t step, double loss, bool best) override {
    evaluations.push_back({step, loss});
    if (best) best_steps.push_back(step);
  }
  void on_note(std::string_view line) override { notes.emplace_back(line); }

  std::vector<StepReport> steps;
  std::vector<BestEvaluation> evaluations;
  std::vector<int64_t> best_steps;
  std::vector<std::string> notes;
  std::function<void(const StepReport&)> step_hook;
};

TrainerSettings settings() {
  TrainerSettings result;
  result.total_steps = 20;
  result.learning_rate = [](int64_t step) { return 0.05 / (1.0 + static_cast<double>(step)); };
  result.max_grad_norm = 0.5;
  result.seed = 42;
  result.evaluate_every = 5;
  result.checkpoint_every = 3;
  return result;
}

// One run with everything that a test may want to change or look at.
struct ToyRun {
  explicit ToyRun(fs::path directory, const Optimization& optimization = {AdamWSettings{.weight_decay = 0.01}})
      : path(std::move(directory)), session(kVocab, 0.1, optimization) {}

  Result<TrainOutcome> go(bool resume = false) {
    GRAFT_TRY(JobDirectory job, JobDirectory::open(path, resume));
    GRAFT_CHECK_OK(job.write_job({{"model", "toy"}}));
    Trainer trainer(session, data, validation, config, environment, job, observer, stop);
    if (resume) GRAFT_CHECK_OK(trainer.resume());
    auto outcome = trainer.run();
    state = trainer.state();
    if (outcome.ok() && *outcome != TrainOutcome::kInterrupted && restore) {
      GRAFT_TRY(restored, trainer.restore_best());
    }
    return outcome;
  }

  fs::path path;
  ToySession session;
  ToyData data{kVocab, 10, 2, 2};
  std::vector<MicroBatch> validation{toy_micro_batch(kVocab, {1, 4}), toy_micro_batch(kVocab, {7})};
  TrainerSettings config = settings();
  RunEnvironment environment{"test", "generic", 1};
  Silent observer;
  std::atomic<bool> stop{false};
  TrainState state;
  bool restore = false;
  int64_t restored = -1;
};

std::vector<std::string> event_lines(const fs::path& directory) {
  std::ifstream file(directory / "events.jsonl");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::string final_state(const fs::path& directory) {
  auto bytes = read_file(directory / "checkpoints" / "20" / "session" / "optimizer.safetensors");
  return bytes.ok() ? *bytes : bytes.error().message;
}

TEST(Trainer, LearnsAndReportsEveryStep) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun run(root / "out");
  const auto outcome = run.go();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(*outcome, TrainOutcome::kFinished);
  ASSERT_EQ(run.observer.steps.size(), 20U);
  EXPECT_DOUBLE_EQ(run.observer.steps[3].learning_rate, 0.05 / 4);
  ASSERT_EQ(run.observer.evaluations.size(), 5U);
  EXPECT_LT(run.observer.evaluations.back().loss, run.observer.evaluations.front().loss);

  const auto history = read_history(root / "out" / "events.jsonl");
  ASSERT_TRUE(history.ok());
  ASSERT_EQ(history->steps.size(), 20U);
  EXPECT_EQ(history->steps[19].loss, run.observer.steps[19].loss);
  EXPECT_EQ(history->steps[19].tokens, run.observer.steps[19].tokens);
  EXPECT_EQ(history->steps[19].total_tokens, run.state.tokens);
  EXPECT_EQ(history->evaluations.size(), 5U);
}

TEST(Trainer, AccumulationIsNormalisedByTokens) {
  // 4 rows of unequal length: in one micro batch, in two, in four. The gradient of the first step is the same.
  std::vector<std::vector<double>> gradients;
  std::vector<double> losses;
  for (const int32_t pieces : {1, 2, 4}) {
    TestDirectory root(TestDirectory::in_memory());
    ToyRun run(root / "out");
    ToySession plain(kVocab, 0.0);
    ToyData data(kVocab, 10, 4 / pieces, pieces);
    TrainerSettings config = settings();
    config.total_steps = 1;
    JobDirectory job = std::move(JobDirectory::open(root / "out", false)).value();
    Trainer trainer(plain, data, kNoValidation, config, run.environment, job, run.observer, run.stop);
    ASSERT_TRUE(trainer.run().ok());
    gradients.push_back(plain.last_gradient);
    losses.push_back(run.observer.steps[0].loss);
  }
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    EXPECT_NEAR(gradients[1][i], gradients[0][i], 1e-12);
    EXPECT_NEAR(gradients[2][i], gradients[0][i], 1e-12);
  }
  EXPECT_NEAR(losses[1], losses[0], 1e-12);
  EXPECT_NEAR(losses[2], losses[0], 1e-12);
}

TEST(Trainer, DropoutStreamsNeverRepeat) {
  std::vector<uint64_t> streams;
  for (int64_t step = 0; step < 200; ++step) {
    for (int64_t micro = 0; micro < 16; ++micro) streams.push_back(dropout_stream(5, step, micro));
  }
  EXPECT_EQ(streams[17], dropout_stream(5, 1, 1));
  EXPECT_NE(streams[17], dropout_stream(6, 1, 1));
  std::sort(streams.begin(), streams.end());
  EXPECT_EQ(std::adjacent_find(streams.begin(), streams.end()), streams.end());
}

TEST(Trainer, StopRequestWritesACheckpointAndResumeContinuesBitForBit) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun whole(root / "whole");
  ASSERT_TRUE(whole.go().ok());
  for (const int64_t stop_at : {1, 4, 5, 12, 19}) {
    const fs::path out = root / ("stop" + std::to_string(stop_at));
    ToyRun first(out);
    first.observer.step_hook = [&](const StepReport& report) { first.stop = report.step == stop_at; };
    const auto interrupted = first.go();
    ASSERT_TRUE(interrupted.ok()) << interrupted.error().message;
    EXPECT_EQ(*interrupted, TrainOutcome::kInterrupted);
    EXPECT_TRUE(fs::exists(out / "checkpoints" / std::to_string(stop_at)));
    EXPECT_THAT(event_lines(out).back(), HasSubstr("\"stopped\""));

    ToyRun second(out);
    ASSERT_TRUE(second.go(true).ok());
    EXPECT_EQ(second.observer.steps.size(), static_cast<size_t>(20 - stop_at));
    EXPECT_EQ(final_state(out), final_state(root / "whole"));
    EXPECT_EQ(second.state.tokens, whole.state.tokens);
    EXPECT_EQ(second.state.epoch, whole.state.epoch);
    EXPECT_EQ(second.state.best->step, whole.state.best->step);
    EXPECT_EQ(second.state.best->loss, whole.state.best->loss);
  }
}

TEST(Trainer, EveryOptimizerResumesBitForBit) {
  std::vector<Optimization> all;
  for (const OptimizerSettings& optimizer : std::vector<OptimizerSettings>{
           AdamWSettings{}, AdamW8bitSettings{{}, 1}, LionSettings{.weight_decay = 0.1}, AdafactorSettings{},
           AdafactorSettings{.beta1 = 0.9}, MuonSettings{}, SgdSettings{.momentum = 0.9, .nesterov = true}}) {
    all.push_back({.optimizer = optimizer, .loraplus_lr_ratio = 4});
    all.push_back({.optimizer = optimizer, .ema_decay = 0.8});
  }
  for (const Optimization& optimization : all) {
    TestDirectory root(TestDirectory::in_memory());
    ToyRun whole(root / "whole", optimization);
    ASSERT_TRUE(whole.go().ok());
    EXPECT_LT(whole.observer.evaluations.back().loss, whole.observer.evaluations.front().loss)
        << optimizer_name(optimization.optimizer);
    ToyRun first(root / "out", optimization);
    first.observer.step_hook = [&](const StepReport& report) { first.stop = report.step == 12; };
    ASSERT_TRUE(first.go().ok());
    ToyRun second(root / "out", optimization);
    ASSERT_TRUE(second.go(true).ok());
    EXPECT_EQ(final_state(root / "out"), final_state(root / "whole")) << optimizer_name(optimization.optimizer);
    EXPECT_EQ(second.observer.evaluations.back().loss, whole.observer.evaluations.back().loss);
  }
}

TEST(Trainer, ResumeWithAnotherOptimizerIsRefusedByName) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun first(root / "out", {.optimizer = LionSettings{}});
  first.observer.step_hook = [&](const StepReport& report) { first.stop = report.step == 4; };
  ASSERT_TRUE(first.go().ok());
  ToyRun second(root / "out", {.optimizer = MuonSettings{}});
  const auto outcome = second.go(true);
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("the checkpoint is of the optimizer lion, this run has muon"));
}

TEST(Trainer, TheAverageIsWhatIsEvaluatedAndSaved) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun plain(root / "plain", {.optimizer = SgdSettings{}});
  ToyRun averaged(root / "averaged", {.optimizer = SgdSettings{}, .ema_decay = 0.9});
  ASSERT_TRUE(plain.go().ok() && averaged.go().ok());
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(plain.observer.steps[i].loss, averaged.observer.steps[i].loss);
  // The same trajectory, looked at from behind.
  EXPECT_LT(plain.observer.evaluations.back().loss, averaged.observer.evaluations.back().loss);
  const auto adapter = [&](const char* run, const char* step) {
    return *read_file(root / run / "checkpoints" / step / "adapter" / "adapter_model.safetensors");
  };
  EXPECT_NE(adapter("plain", "20"), adapter("averaged", "20"));
  ASSERT_TRUE(averaged.session.save_adapter((root / "averaged").string()).ok());
  EXPECT_EQ(*read_file(root / "averaged" / "adapter_model.safetensors"), adapter("averaged", "20"));
}

TEST(Trainer, StopBetweenMicroBatchesGivesTheStepUp) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun whole(root / "whole");
  ASSERT_TRUE(whole.go().ok());
  ToyRun first(root / "out");
  first.session.on_forward = [&] { first.stop = first.session.calls == 2 * 7 + 1; };  // the first half of step 8
  ASSERT_EQ(*first.go(), TrainOutcome::kInterrupted);
  EXPECT_EQ(first.state.step, 7);
  ToyRun second(root / "out");
  ASSERT_TRUE(second.go(true).ok());
  EXPECT_EQ(final_state(root / "out"), final_state(root / "whole"));
}

TEST(Trainer, StopDuringAnEvaluationRepeatsItOnResume) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun whole(root / "whole");
  ASSERT_TRUE(whole.go().ok());
  ToyRun first(root / "out");
  first.session.on_evaluate = [&](LossSum&) { first.stop = first.session.calls == 2 * 10; };
  ASSERT_EQ(*first.go(), TrainOutcome::kInterrupted);
  EXPECT_EQ(first.state.step, 10);
  ToyRun second(root / "out");
  ASSERT_TRUE(second.go(true).ok());
  EXPECT_EQ(second.observer.evaluations.front().step, 10);
  EXPECT_EQ(second.state.best->loss, whole.state.best->loss);
  EXPECT_EQ(final_state(root / "out"), final_state(root / "whole"));
  const auto history = read_history(root / "out" / "events.jsonl");
  EXPECT_EQ(history->evaluations.size(), 5U);
  EXPECT_EQ(history->steps.size(), 20U);
}

TEST(Trainer, ResumeOfAFinishedRunDoesNothing) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun first(root / "out");
  ASSERT_TRUE(first.go().ok());
  ToyRun second(root / "out");
  ASSERT_EQ(*second.go(true), TrainOutcome::kFinished);
  EXPECT_EQ(second.session.calls, 0);
}

TEST(Trainer, ResumeReportsWhatChangesBits) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun first(root / "out");
  first.observer.step_hook = [&](const StepReport& report) { first.stop = report.step == 3; };
  ASSERT_TRUE(first.go().ok());
  ToyRun second(root / "out");
  second.environment = {"test", "avx512", 8};
  ASSERT_TRUE(second.go(true).ok());
  EXPECT_THAT(second.observer.notes,
              ElementsAre(HasSubstr("instruction set: generic when the checkpoint was written, avx512 now"),
                          HasSubstr("threads: 1 when the checkpoint was written, 8 now"), HasSubstr("resuming from")));
}

TEST(Trainer, ResumeFallsBackToAnOlderCheckpoint) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun whole(root / "whole");
  ASSERT_TRUE(whole.go().ok());
  ToyRun first(root / "out");
  first.observer.step_hook = [&](const StepReport& report) { first.stop = report.step == 11; };
  ASSERT_TRUE(first.go().ok());
  fs::resize_file(root / "out" / "checkpoints" / "11" / "session" / "optimizer.safetensors", 10);
  ToyRun second(root / "out");
  ASSERT_TRUE(second.go(true).ok());
  EXPECT_THAT(second.observer.notes,
              ElementsAre(HasSubstr("optimizer.safetensors has 10 bytes"), HasSubstr("checkpoints/10")));
  EXPECT_EQ(final_state(root / "out"), final_state(root / "whole"));
}

TEST(Trainer, EarlyStoppingEndsTheRunAndKeepsTheBest) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun run(root / "out");
  run.config.early_stop = 2;
  run.config.evaluate_every = 2;
  run.restore = true;
  std::string best_adapter;
  // Better until step 6, worse from then on. Two batches make one evaluation.
  run.session.on_evaluate = [&](LossSum& sum) {
    const auto step = static_cast<double>(run.session.calls / 2);
    sum.loss = static_cast<double>(sum.tokens) * std::abs(step - 6);
    if (step == 6) best_adapter.assign(reinterpret_cast<const char*>(run.session.learned().data()), 64);
  };
  const auto outcome = run.go();
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(*outcome, TrainOutcome::kStoppedEarly);
  EXPECT_EQ(run.state.step, 10);
  EXPECT_EQ(run.restored, 6);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(run.session.learned().data()), 64), best_adapter);
  EXPECT_THAT(run.observer.best_steps, ElementsAre(2, 4, 6));
  EXPECT_TRUE(fs::exists(root / "out" / "checkpoints" / "6"));

  ToyRun again(root / "out");
  again.config = run.config;
  again.restore = true;
  EXPECT_EQ(*again.go(true), TrainOutcome::kStoppedEarly);
  EXPECT_EQ(again.restored, 6);
  EXPECT_EQ(again.session.calls, 0);
}

// A metric that is worst where the loss is best decides, is in the events, and is remembered over a resume.
TEST(Trainer, AnotherMetricThanTheLossMayDecide) {
  TestDirectory root(TestDirectory::in_memory());
  const auto make = [](ToyRun& run) {
    run.config.early_stop = 3;
    run.config.evaluate_every = 2;
    run.config.best_by = "score";
    run.config.generate = [&run](Session& session, const std::atomic<bool>&) -> Result<std::optional<MetricValues>> {
      EXPECT_EQ(&session, &run.session);
      const auto step = static_cast<double>(run.observer.steps.empty() ? 0 : run.observer.steps.back().step);
      return std::optional(MetricValues{{"other", step}, {"score", -std::abs(step - 4)}});
    };
  };
  ToyRun whole(root / "whole");
  make(whole);
  whole.restore = true;
  ASSERT_EQ(*whole.go(), TrainOutcome::kStoppedEarly);
  EXPECT_EQ(whole.state.step, 10);
  EXPECT_EQ(whole.restored, 4);
  EXPECT_EQ(whole.state.best->score, 0);
  EXPECT_THAT(event_lines(root / "whole"), ::testing::Contains(HasSubstr(R"("metrics":{"other":4.0,"score":-0.0})")));

  ToyRun first(root / "out");
  make(first);
  first.observer.step_hook = [&](const StepReport& report) { first.stop = report.step == 7; };
  ASSERT_EQ(*first.go(), TrainOutcome::kInterrupted);
  ToyRun second(root / "out");
  make(second);
  EXPECT_EQ(*second.go(true), TrainOutcome::kStoppedEarly);
  EXPECT_EQ(second.state.step, 10);
  EXPECT_EQ(second.state.best->step, 4);

  ToyRun failing(root / "failing");
  failing.config.generate = [](Session&, const std::atomic<bool>&) -> Result<std::optional<MetricValues>> {
    return invalid("score.py: KeyError");
  };
  const auto outcome = failing.go();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("step 0: evaluation by generation: score.py: KeyError"));
}

TEST(Trainer, EarlyStopCounterSurvivesAResume) {
  TestDirectory root(TestDirectory::in_memory());
  auto make = [&](ToyRun& run) {
    run.config.early_stop = 3;
    run.config.evaluate_every = 2;
    run.session.on_evaluate = [](LossSum& sum) { sum.loss = static_cast<double>(sum.tokens); };
  };
  ToyRun first(root / "out");
  make(first);
  first.observer.step_hook = [&](const StepReport& report) { first.stop = report.step == 5; };
  ASSERT_EQ(*first.go(), TrainOutcome::kInterrupted);
  ToyRun second(root / "out");
  make(second);
  EXPECT_EQ(*second.go(true), TrainOutcome::kStoppedEarly);
  EXPECT_EQ(second.state.step, 8);  // best at 2; 4, 6 and 8 were no better
}

TEST(Trainer, LossThatIsNotANumberNamesStepAndRows) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun run(root / "out");
  run.observer.step_hook = [&](const StepReport& report) {
    if (report.step == 7) run.session.poison_token = 3;
  };
  const auto outcome = run.go();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("step 8: the loss is nan, caused by toy.jsonl:"));
  EXPECT_THAT(outcome.error().message, HasSubstr("learning_rate"));
  EXPECT_THAT(outcome.error().message, HasSubstr("checkpoint 6"));
  EXPECT_THAT(event_lines(root / "out").back(), HasSubstr("\"failed\""));
  EXPECT_TRUE(fs::exists(root / "out" / "checkpoints" / "6"));
}

TEST(Trainer, GradientThatIsNotFiniteStopsTheRun) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun run(root / "out");
  run.session.poison_norm = true;
  const auto outcome = run.go();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("step 1: the gradient's norm is inf"));
}

TEST(Trainer, ValidationLossThatIsNotFiniteStopsTheRun) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun run(root / "out");
  run.session.on_evaluate = [](LossSum& sum) { sum.loss = INFINITY; };
  const auto outcome = run.go();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("step 0: the validation loss is inf for toy.jsonl:2, toy.jsonl:5"));
}

TEST(Trainer, StepWithoutLabelsIsAnError) {
  TestDirectory root(TestDirectory::in_memory());
  struct Unlabelled final : BatchSource {
    Result<StepBatch> next() override {
      StepBatch step;
      step.micro_batches.push_back({{{1, 2}, {kIgnoreLabel, kIgnoreLabel}, {0, 2}}, {"mail.csv:9"}});
      return step;
    }
    [[nodiscard]] nlohmann::json cursor() const override { return nullptr; }
    Status seek(const nlohmann::json&) override { return {}; }
  } data;
  ToyRun run(root / "out");
  JobDirectory job = std::move(JobDirectory::open(root / "out", false)).value();
  Trainer trainer(run.session, data, kNoValidation, run.config, run.environment, job, run.observer, run.stop);
  const auto outcome = trainer.run();
  ASSERT_FALSE(outcome.ok());
  EXPECT_THAT(outcome.error().message, HasSubstr("no token of mail.csv:9 carries loss"));
}

TEST(Trainer, FullDiskWhileCheckpointingLeavesTheLastOneToResumeFrom) {
  TestDirectory root(TestDirectory::in_memory());
  ToyRun whole(root / "whole");
  ASSERT_TRUE(whole.go().ok());
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    ToyRun run(root / "out");
    run.session.on_save = [&] {
      // Stands in for a full disk: from step 9 on no file grows past 1000 bytes.
      const rlimit limit{1000, 1000};
      if (run.observer.steps.size() == 9) setrlimit(RLIMIT_FSIZE, &limit);
    };
    const auto outcome = run.go();
    const bool told = !outcome.ok() && outcome.error().kind == ErrorKind::kIo &&
                      outcome.error().message.find("checkpoint 9 was not written") == 0 &&
                      outcome.error().message.find('\n') == std::string::npos;
    _exit(told ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(root / "out" / "checkpoints")) {
    left.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(left, ::testing::UnorderedElementsAre("5", "6"));
  ToyRun second(root / "out");
  const auto outcome = second.go(true);
  ASSERT_TRUE(outcome.ok()) << outcome.error().message;
  EXPECT_EQ(final_state(root / "out"), final_state(root / "whole"));
}

// Runs in a child and dies, without any clean-up, at the n-th point of the run where a kill may strike.
void run_until_killed(const fs::path& out, int64_t point, bool resume) {
  const pid_t child = fork();
  if (child == 0) {
    ToyRun run(out);
    int64_t passed = 0;
    auto strike = [&] {
      if (++passed == point) ::kill(::getpid(), SIGKILL);
    };
    run.session.on_forward = strike;
    run.session.on_save = strike;
    run.session.on_evaluate = [&](LossSum&) { strike(); };
    run.observer.step_hook = [&](const StepReport&) { strike(); };
    const auto outcome = run.go(resume);
    _exit(outcome.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

void kill_and_resume(const fs::path& root, int64_t iterations, uint64_t stream) {
  ToyRun whole(root / "whole");
  ASSERT_TRUE(whole.go().ok());
  PhiloxStream random(9, stream);
  for (int64_t i = 0; i < iterations; ++i) {
    const fs::path out = root / std::to_string(i);
    ASSERT_NO_FATAL_FAILURE(run_until_killed(out, 1 + static_cast<int64_t>(random.below(80)), false));
    for (uint64_t more = random.below(3); more > 0; --more) {
      ASSERT_NO_FATAL_FAILURE(run_until_killed(out, 1 + static_cast<int64_t>(random.below(40)), true));
    }
    ToyRun last(out);
    const auto outcome = last.go(true);
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    ASSERT_EQ(final_state(out), final_state(root / "whole")) << "iteration " << i;
    const auto history = read_history(out / "events.jsonl");
    ASSERT_TRUE(history.ok()) << history.error().message;
    const auto expected = read_history(root / "whole" / "events.jsonl");
    ASSERT_EQ(history->steps.size(), 20U);
    for (size_t s = 0; s < 20; ++s) {
      ASSERT_EQ(history->steps[s].loss, expected->steps[s].loss);
      ASSERT_EQ(history->steps[s].total_tokens, expected->steps[s].total_tokens);
    }
    ASSERT_EQ(history->evaluations.size(), expected->evaluations.size());
    fs::remove_all(out);
  }
}

TEST(Trainer, KilledRunResumesBitForBit) {
  TestDirectory root(TestDirectory::in_memory());
  kill_and_resume(root.path(), 5, 1);
}

TEST(Trainer, KilledRunResumesBitForBitManyTimesSlow) {
  TestDirectory root(TestDirectory::in_memory());
  kill_and_resume(root.path(), 150, 2);
}

}  // namespace
}  // namespace graft::training
