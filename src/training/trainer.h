#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "training/batch_source.h"
#include "training/job_directory.h"
#include "training/metrics.h"
#include "training/session.h"
#include "training/train_state.h"

namespace graft::training {

struct TrainerSettings {
  int64_t total_steps = 0;
  std::function<double(int64_t step)> learning_rate;  // of the step with this index, from 0
  double max_grad_norm = 0;                           // 0: no clipping
  double max_parameter_norm = 0;                      // likewise, of each parameter's gradient
  uint64_t seed = 0;
  int64_t evaluate_every = 0;    // steps; 0: only before the first step and after the last
  int64_t checkpoint_every = 0;  // steps; 0: only at the best evaluation, at a stop and at the end
  int32_t keep_checkpoints = 2;  // the newest ones; the best is kept beside them
  int32_t early_stop = 0;        // this many evaluations in a row without a better one end the run; 0: never
  // Scores of generated answers, which every evaluation asks for; nothing: `stop` was set. May be empty.
  std::function<Result<std::optional<MetricValues>>(Session&, const std::atomic<bool>& stop)> generate;
  std::string best_by;  // the one of these that is highest at the best evaluation; empty: the lowest loss is the best
};

enum class TrainOutcome { kFinished, kStoppedEarly, kInterrupted };

struct StepReport {
  int64_t step = 0;  // optimizer steps done, this one included
  double epoch = 0;
  double loss = 0;  // mean over the step's labelled tokens, in nats
  double learning_rate = 0;
  double grad_norm = 0;         // before clipping
  int64_t tokens = 0;           // of this step
  int64_t labelled_tokens = 0;  // of these, with loss
  double seconds = 0;           // of this step
};

// Is told what happens, on the trainer's thread.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_step(const StepReport& report) = 0;
  virtual void on_evaluation(int64_t step, double loss, bool best) = 0;
  // Before on_evaluation, where there are any.
  virtual void on_metrics(int64_t /*step*/, const MetricValues& /*metrics*/) {}
  virtual void on_note(std::string_view line) = 0;  // for a person: resumed from, checkpoint damaged, ...
};

// The loop of supervised fine-tuning over a session. The gradient of an optimizer step is that of the mean loss of all
// its labelled tokens, however they are cut into micro batches. Dropout draws from streams named after (seed, step,
// micro batch), the data comes from a cursor, and both are in the checkpoint: a resumed run does bit for bit what an
// undisturbed one does (for the same build, instruction set and number of threads).
class Trainer {
 public:
  // All references outlive the trainer. `validation` may be empty. `stop` asks the run to write a checkpoint and end.
  Trainer(Session& session, BatchSource& data, MicroBatches validation, TrainerSettings settings,
          RunEnvironment environment, JobDirectory& directory, TrainObserver& observer, const std::atomic<bool>& stop);

  // Loads the newest whole checkpoint, where there is one. Call before run().
  Status resume();

  // Errors: a loss or gradient that is not finite, with the step and the rows that caused it; anything the session or
  // the disk refuses. The newest checkpoint stays whole. After kInterrupted or an error the session holds gradients of
  // an unfinished step: it must not be trained on.
  Result<TrainOutcome> run();

  // Brings the best evaluation's parameters back into the session; does nothing where the last are the best, or where
  // nothing was evaluated. Returns the step whose parameters the session holds.
  Result<int64_t> restore_best();

  [[nodiscard]] const TrainState& state() const { return state_; }

 private:
  enum class Interruptible { kDone, kInterrupted };

  [[nodiscard]] bool evaluation_due() const;
  [[nodiscard]] bool checkpoint_due() const;
  [[nodiscard]] bool ended() const;
  Result<Interruptible> evaluate();
  Result<std::optional<MetricValues>> generated_scores();
  Status record_evaluation(double loss, int64_t tokens, const MetricValues& metrics);
  bool take_evaluation(const BestEvaluation& evaluation);
  Result<Interruptible> train_step();
  Result<LossSum> accumulate(const StepBatch& batch, int64_t labelled);
  Status record_step(const StepReport& report);
  Error not_finite(const char* what, double value, const std::vector<std::string>& rows) const;
  Status save_into(const std::filesystem::path& directory);
  Status write_checkpoint();
  Result<TrainOutcome> interrupted();
  Result<TrainOutcome> loop();

  Session& session_;
  BatchSource& data_;
  MicroBatches validation_;
  TrainerSettings settings_;
  JobDirectory& directory_;
  TrainObserver& observer_;
  const std::atomic<bool>& stop_;
  TrainState state_;
  std::optional<int64_t> checkpointed_step_;
  bool resumed_ = false;
};

// Loss per labelled token over all batches, without dropout. Stops early and returns nothing where `stop` is set.
Result<std::optional<LossSum>> evaluate_batches(Session& session, const MicroBatches& batches,
                                                const std::atomic<bool>& stop);

// The name of the random numbers of one forward_backward call; different for every (step, micro batch) of a seed.
uint64_t dropout_stream(uint64_t seed, int64_t step, int64_t micro_batch);

}  // namespace graft::training
