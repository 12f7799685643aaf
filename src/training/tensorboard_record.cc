#include <array>

#include "training/event_file.h"
#include "training/run_records.h"

namespace graft::training {
namespace {

class TensorBoardRecord final : public RunRecord {
 public:
  explicit TensorBoardRecord(EventFile file) : file_(std::move(file)) {}

  Status on_step(const StepReport& report, double time) override {
    return file_.add_scalars(report.step, time, step_scalars(report));
  }
  Status on_evaluation(int64_t step, double loss, double time) override {
    const std::array<std::pair<std::string, double>, 1> scalars = {{{"validation/loss", loss}}};
    return file_.add_scalars(step, time, scalars);
  }
  Status on_end(RunEnd /*end*/, double /*time*/) override { return {}; }

 private:
  EventFile file_;
};

}  // namespace

Result<std::unique_ptr<RunRecord>> open_tensorboard_record(const RecordedRun& run, double time) {
  GRAFT_TRY(EventFile file, EventFile::create(run.job / "tensorboard", time));
  GRAFT_CHECK_OK(file.add_restart(run.step == 0 ? 0 : run.step + 1, time));
  return std::unique_ptr<RunRecord>(std::make_unique<TensorBoardRecord>(std::move(file)));
}

}  // namespace graft::training
