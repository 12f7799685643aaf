#pragma once

#include <memory>
#include <ostream>

#include "base/progress.h"
#include "training/trainer.h"

namespace graft::training {

// Shows a run to a person: step, loss, validation loss, tokens a second, time left.
class TrainProgress final : public TrainObserver {
 public:
  TrainProgress(std::ostream& out, ProgressStyle style, int64_t total_steps)
      : out_(out), style_(style), total_steps_(total_steps) {}

  void on_step(const StepReport& report) override;
  void on_evaluation(int64_t step, double loss, bool best) override;
  void on_metrics(int64_t step, const MetricValues& metrics) override;
  void on_note(std::string_view line) override;
  void finish();

 private:
  Progress& bar(const StepReport& report);  // made at the first step, which is then over

  std::ostream& out_;
  ProgressStyle style_;
  int64_t total_steps_;
  std::unique_ptr<Progress> bar_;
  std::optional<double> validation_loss_;
  double recent_tokens_ = 0;  // both decay from step to step, so that the speed follows what happens now
  double recent_seconds_ = 0;
};

}  // namespace graft::training
