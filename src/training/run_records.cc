#include "training/run_records.h"

#include <chrono>

namespace graft::training {
namespace {

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::vector<std::pair<std::string, double>> step_scalars(const StepReport& report) {
  std::vector<std::pair<std::string, double>> scalars = {{"train/loss", report.loss},
                                                         {"train/learning_rate", report.learning_rate},
                                                         {"train/grad_norm", report.grad_norm},
                                                         {"train/epoch", report.epoch}};
  if (report.seconds > 0) {
    scalars.emplace_back("train/tokens_per_second", static_cast<double>(report.tokens) / report.seconds);
  }
  return scalars;
}

Status RunRecords::open(const RecordedRun& run) {
  const double now = seconds_since_1970();
  if (run.config.logging.tensorboard) {
    GRAFT_TRY(auto record, open_tensorboard_record(run, now));
    records_.push_back(std::move(record));
  }
  if (run.config.logging.mlflow) {
    GRAFT_TRY(auto record, open_mlflow_record(run, now));
    records_.push_back(std::move(record));
  }
  return {};
}

template <class Write>
void RunRecords::for_each(Write write) {
  const double now = seconds_since_1970();
  std::erase_if(records_, [&](const std::unique_ptr<RunRecord>& record) {
    const Status status = write(*record, now);
    if (status.ok()) return false;
    next_.on_note("warning: " + status.error().message + "; the run is recorded there no longer");
    return true;
  });
}

void RunRecords::end(RunEnd how) {
  for_each([&](RunRecord& record, double now) { return record.on_end(how, now); });
  records_.clear();
}

void RunRecords::on_step(const StepReport& report) {
  for_each([&](RunRecord& record, double now) { return record.on_step(report, now); });
  next_.on_step(report);
}

void RunRecords::on_evaluation(int64_t step, double loss, bool best) {
  for_each([&](RunRecord& record, double now) { return record.on_evaluation(step, loss, now); });
  next_.on_evaluation(step, loss, best);
}

}  // namespace graft::training
