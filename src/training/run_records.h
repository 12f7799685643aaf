#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "recipe/training_config.h"
#include "training/trainer.h"

namespace graft::training {

enum class RunEnd { kFinished, kStopped, kFailed };

// What a run records in another program's files, beside events.jsonl. Times are seconds since 1970.
class RunRecord {
 public:
  virtual ~RunRecord() = default;
  virtual Status on_step(const StepReport& report, double time) = 0;
  virtual Status on_evaluation(int64_t step, double loss, double time) = 0;
  virtual Status on_end(RunEnd end, double time) = 0;
};

// Which run is recorded.
struct RecordedRun {
  const recipe::TrainingConfig& config;
  fs::path job;  // the job directory
  std::string name;
  std::string base_digest;
  std::string dataset_sha256;
  int64_t step = 0;  // done already: of a run that goes on
};

// Event files for TensorBoard in JOB/tensorboard: scalars train/loss, train/learning_rate, train/grad_norm,
// train/tokens_per_second, train/epoch and validation/loss. A run that goes on writes a further file, which begins with
// the marker by which readers drop the steps that the resume undoes.
Result<std::unique_ptr<RunRecord>> open_tensorboard_record(const RecordedRun& run, double time);

// A run in a directory as MLflow's file store lays it out (`mlflow ui --backend-store-uri DIR`):
// logging.mlflow_directory, by default JOB/mlruns. Every key of the resolved config is a parameter, the metrics are
// named as TensorBoard's scalars. A run that goes on is the same run, without the steps that the resume undoes;
// JOB/mlflow_run names it.
Result<std::unique_ptr<RunRecord>> open_mlflow_record(const RecordedRun& run, double time);

// Passes on what happens, and records it where the config's section `logging` asks for it. A record that cannot be
// written any more (a full disk) is given up with a note: training goes on.
class RunRecords final : public TrainObserver {
 public:
  explicit RunRecords(TrainObserver& next) : next_(next) {}

  Status open(const RecordedRun& run);
  void end(RunEnd how);

  void on_step(const StepReport& report) override;
  void on_evaluation(int64_t step, double loss, bool best) override;
  void on_metrics(int64_t step, const MetricValues& metrics) override { next_.on_metrics(step, metrics); }
  void on_note(std::string_view line) override { next_.on_note(line); }

 private:
  template <class Write>
  void for_each(Write write);

  TrainObserver& next_;
  std::vector<std::unique_ptr<RunRecord>> records_;
};

// The scalars of a step by name, as every record calls them.
std::vector<std::pair<std::string, double>> step_scalars(const StepReport& report);

}  // namespace graft::training
