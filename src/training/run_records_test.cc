// Run records, read back by the programs that they are for.
#include "training/run_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_python.h"

namespace graft::training {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class Listener final : public TrainObserver {
 public:
  void on_step(const StepReport&) override { ++steps; }
  void on_evaluation(int64_t, double, bool) override { ++evaluations; }
  void on_note(std::string_view line) override { notes.emplace_back(line); }
  int steps = 0;
  int evaluations = 0;
  std::vector<std::string> notes;
};

class RunRecordsTest : public testing::Test {
 protected:
  RunRecordsTest() {
    config_.model_type = "llm";
    config_.base_model = "toy";
    config_.prompt.template_text = "Tell: {text}\nin two lines";
    config_.logging.tensorboard = true;
    config_.logging.mlflow = true;
    config_.logging.mlflow_experiment = "it's an \"experiment\"";
    fs::create_directory(root_ / "my job");
  }

  // Steps first..last, an evaluation after every fifth.
  void run(int64_t done, int64_t last, RunEnd end, double offset = 0) {
    RunRecords records(listener_);
    const Status opened =
        records.open({config_, root_ / "my job", "my job", "base-digest", std::string(64, 'd'), done});
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    for (int64_t step = done + 1; step <= last; ++step) {
      const auto x = static_cast<double>(step);
      records.on_step({step, x / 10, 1 / x + offset, 0.001 * x, 2.5, 100, 40, 0.5});
      if (step % 5 == 0) records.on_evaluation(step, 2 / x + offset, true);
    }
    records.end(end);
  }

  std::string python(const std::string& body) { return run_python(body, {root_.path()}); }

  TestDirectory root_;
  recipe::TrainingConfig config_;
  Listener listener_;
};

TEST(Crc32c, IsThatOfTheStandardsExamples) {
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43U);
}

constexpr const char* kReadEvents = R"py(
import sys, pathlib, logging
logging.disable(logging.WARNING)  # it says what it drops
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
job = pathlib.Path(sys.argv[1]) / "my job"
events = EventAccumulator(str(job / "tensorboard")); events.Reload()
points = {tag: [(e.step, round(e.value, 5)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
)py";

TEST_F(RunRecordsTest, TensorBoardReadsTheScalars) {
  run(0, 12, RunEnd::kFinished);
  EXPECT_EQ(python(std::string(kReadEvents) + R"py(
assert sorted(points) == ["train/epoch", "train/grad_norm", "train/learning_rate", "train/loss", "train/tokens_per_second",
                          "validation/loss"], sorted(points)
assert points["train/loss"] == [(i, round(1 / i, 5)) for i in range(1, 13)], points["train/loss"]
assert points["train/tokens_per_second"][3] == (4, 200.0)
assert points["validation/loss"] == [(5, 0.4), (10, 0.2)]
import time
assert abs(events.Scalars("train/loss")[0].wall_time - time.time()) < 600
)py"),
            "");
  EXPECT_EQ(listener_.steps, 12);
  EXPECT_EQ(listener_.evaluations, 2);
  EXPECT_THAT(listener_.notes, IsEmpty());
}

TEST_F(RunRecordsTest, TensorBoardDropsWhatAResumeUndid) {
  run(0, 13, RunEnd::kStopped, 7.0);  // the checkpoint is of step 10
  // What a kill leaves of the last record.
  const fs::path first = fs::directory_iterator(root_ / "my job/tensorboard")->path();
  fs::resize_file(first, fs::file_size(first) - 3);
  run(10, 20, RunEnd::kFinished);
  EXPECT_EQ(python(std::string(kReadEvents) + R"py(
files = sorted(p.name for p in (job / "tensorboard").iterdir())
assert len(files) == 2, files
want = [(i, round(1 / i + (7 if i <= 10 else 0), 5)) for i in range(1, 21)]
assert points["train/loss"] == want, points["train/loss"]
assert [step for step, _ in points["validation/loss"]] == [5, 10, 15, 20]
)py"),
            "");
}

constexpr const char* kReadRuns = R"py(
import os, sys, pathlib
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
from mlflow.tracking import MlflowClient
root = pathlib.Path(sys.argv[1])
def runs(store, experiment):
    client = MlflowClient("file://" + str(store).replace(" ", "%20"))
    # Not by name: MLflow's own search cannot quote this one.
    (found,) = [e for e in client.search_experiments() if e.name == experiment]
    return client, client.search_runs([found.experiment_id])
def history(client, run, key): return [(m.step, round(m.value, 5)) for m in client.get_metric_history(run.info.run_id, key)]
)py";

TEST_F(RunRecordsTest, MlflowReadsTheRun) {
  run(0, 12, RunEnd::kFinished);
  EXPECT_EQ(python(std::string(kReadRuns) + R"py(
client, (found,) = runs(root / "my job" / "mlruns", "it's an \"experiment\"")
assert (found.info.status, found.info.run_name) == ("FINISHED", "my job"), found.info
assert found.info.start_time <= found.info.end_time and found.info.artifact_uri.endswith("/artifacts")
assert history(client, found, "train/loss") == [(i, round(1 / i, 5)) for i in range(1, 13)]
assert history(client, found, "validation/loss") == [(5, 0.4), (10, 0.2)]
params = found.data.params
assert params["base_model"] == "toy" and params["trainer.learning_rate"] == "0.001" and params["adapter.r"] == "8", params
assert "\\n" in params["prompt.template"]
assert found.data.tags["graft.base_digest"] == "base-digest"
assert client.list_artifacts(found.info.run_id) == []
)py"),
            "");
}

TEST_F(RunRecordsTest, MlflowsRunGoesOnWithoutWhatAResumeUndid) {
  config_.logging.mlflow_directory = root_ / "shared runs";
  run(0, 13, RunEnd::kStopped, 7.0);
  EXPECT_EQ(python(std::string(kReadRuns) + R"py(
client, (found,) = runs(root / "shared runs", "it's an \"experiment\"")
assert found.info.status == "KILLED", found.info
)py"),
            "");
  run(10, 20, RunEnd::kFailed);
  // Another job in the same store and experiment.
  fs::rename(root_ / "my job", root_ / "first job");
  fs::create_directory(root_ / "my job");
  run(0, 3, RunEnd::kFinished);
  EXPECT_EQ(python(std::string(kReadRuns) + R"py(
client, found = runs(root / "shared runs", "it's an \"experiment\"")
assert sorted(run.info.status for run in found) == ["FAILED", "FINISHED"]
first = next(run for run in found if run.info.status == "FAILED")
assert history(client, first, "train/loss") == [(i, round(1 / i + (7 if i <= 10 else 0), 5)) for i in range(1, 21)]
assert [step for step, _ in history(client, first, "validation/loss")] == [5, 10, 15, 20]
)py"),
            "");
}

TEST_F(RunRecordsTest, ARecordThatCannotBeWrittenIsGivenUpWithANote) {
  config_.logging.tensorboard = false;
  RunRecords records(listener_);
  ASSERT_TRUE(records.open({config_, root_ / "my job", "my job", "", "", 0}).ok());
  fs::remove_all(root_ / "my job/mlruns");
  ASSERT_TRUE(write_file_atomic(root_ / "my job/mlruns", "a file").ok());
  records.on_step({1, 0, 1, 1, 1, 1, 1, 1});
  records.on_step({2, 0, 1, 1, 1, 1, 1, 1});
  records.end(RunEnd::kFinished);
  EXPECT_EQ(listener_.steps, 2);
  ASSERT_EQ(listener_.notes.size(), 1U);
  EXPECT_THAT(listener_.notes.front(), HasSubstr("recorded there no longer"));
}

TEST_F(RunRecordsTest, NothingIsWrittenUnlessAskedFor) {
  config_.logging = {};
  run(0, 3, RunEnd::kFinished);
  EXPECT_TRUE(fs::is_empty(root_ / "my job"));
}

}  // namespace
}  // namespace graft::training
