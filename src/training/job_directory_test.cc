#include "training/job_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "base/json.h"
#include "base/philox.h"
#include "base/test_directory.h"

namespace graft::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

JobDirectory open_or_die(const fs::path& path, bool resume = false) {
  auto directory = JobDirectory::open(path, resume);
  if (!directory.ok()) throw std::runtime_error(directory.error().message);
  return std::move(directory).value();
}

Status write_checkpoint(JobDirectory& directory, int64_t step, const std::string& content) {
  return directory.write_checkpoint(step, {{"step", step}}, [&](const fs::path& path) -> Status {
    GRAFT_CHECK_OK(make_directories(path / "session"));
    return write_file_atomic(path / "session" / "weights.bin", content);
  });
}

TEST(JobDirectory, NonEmptyDirectoryIsRefusedWithARemedy) {
  TestDirectory root;
  std::ofstream(root / "thesis.txt") << "do not touch";
  auto refused = JobDirectory::open(root.path(), false);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::kConflict);
  EXPECT_THAT(refused.error().message, HasSubstr("--resume"));
  EXPECT_THAT(refused.error().message, HasSubstr("--output"));

  EXPECT_FALSE(fs::exists(root / "lock"));

  auto foreign = JobDirectory::open(root.path(), true);
  ASSERT_FALSE(foreign.ok());
  EXPECT_THAT(foreign.error().message, HasSubstr("job.json"));
}

TEST(JobDirectory, RefusedRunLeavesAUsableDirectory) {
  TestDirectory root;
  {
    const JobDirectory first = open_or_die(root / "out");
  }
  std::error_code error;
  fs::remove(root / "out" / "events.jsonl", error);
  EXPECT_TRUE(JobDirectory::open(root / "out", false).ok());
}

TEST(JobDirectory, TwoRunsDoNotShareADirectory) {
  TestDirectory root;
  const JobDirectory first = open_or_die(root / "out");
  auto second = JobDirectory::open(root / "out", true);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().kind, ErrorKind::kConflict);
  EXPECT_THAT(second.error().message, HasSubstr("another run"));
}

TEST(JobDirectory, OutputThatIsAFileIsRefused) {
  TestDirectory root;
  std::ofstream(root / "out") << "x";
  auto refused = JobDirectory::open(root / "out", false);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("is a file"));
}

TEST(JobDirectory, JobIsReadBackOnResume) {
  TestDirectory root;
  {
    ASSERT_TRUE(open_or_die(root / "out").write_job({{"model", "tiny"}}).ok());
  }
  const JobDirectory resumed = open_or_die(root / "out", true);
  ASSERT_TRUE(resumed.job().has_value());
  EXPECT_EQ((*resumed.job())["model"], "tiny");
}

TEST(JobDirectory, CorruptJobIsAnErrorThatNamesTheFile) {
  TestDirectory root;
  std::ofstream(root / "job.json") << "{\"model\": ";
  auto opened = JobDirectory::open(root.path(), true);
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(opened.error().message, HasSubstr("job.json"));
}

TEST(JobDirectory, NewestCheckpointWins) {
  TestDirectory root;
  JobDirectory directory = open_or_die(root / "out");
  std::vector<std::string> warnings;
  EXPECT_FALSE(directory.latest_checkpoint(warnings)->has_value());
  for (const int64_t step : {2, 9, 10}) ASSERT_TRUE(write_checkpoint(directory, step, "x").ok());
  const auto latest = directory.latest_checkpoint(warnings);
  ASSERT_TRUE(latest.ok());
  ASSERT_TRUE(latest->has_value());
  EXPECT_EQ((*latest)->step, 10);
  EXPECT_EQ((*latest)->trainer["step"], 10);
  EXPECT_TRUE(warnings.empty());
}

TEST(JobDirectory, DamagedCheckpointIsSkippedAndNamed) {
  TestDirectory root;
  JobDirectory directory = open_or_die(root / "out");
  for (const int64_t step : {1, 2}) ASSERT_TRUE(write_checkpoint(directory, step, "weights").ok());
  std::ofstream(root / "out" / "checkpoints" / "2" / "session" / "weights.bin") << "weightz";
  std::vector<std::string> warnings;
  auto latest = directory.latest_checkpoint(warnings);
  ASSERT_TRUE(latest.ok());
  EXPECT_EQ((*latest)->step, 1);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], HasSubstr("checkpoints/2: weights.bin is not what was written"));

  fs::resize_file(root / "out" / "checkpoints" / "1" / "session" / "weights.bin", 3);
  latest = directory.latest_checkpoint(warnings);
  ASSERT_FALSE(latest.ok());
  EXPECT_THAT(latest.error().message, HasSubstr("no other checkpoint is whole"));
}

TEST(JobDirectory, HostileManifestsAreErrors) {
  TestDirectory root;
  JobDirectory directory = open_or_die(root / "out");
  ASSERT_TRUE(write_checkpoint(directory, 5, "weights").ok());
  const fs::path manifest = root / "out" / "checkpoints" / "5" / "checkpoint.json";
  const std::string good = *read_file(manifest);
  ASSERT_TRUE(directory.checkpoint(5).ok());
  auto refused = [&](const std::string& text) {
    std::ofstream(manifest, std::ios::binary | std::ios::trunc) << text;
    return !directory.checkpoint(5).ok();
  };
  for (size_t size = 0; size + 2 < good.size(); ++size) EXPECT_TRUE(refused(good.substr(0, size))) << size;
  for (const char* text :
       {"[]", "{}", "null", R"({"version":2,"step":5,"trainer":{},"files":{}})",
        R"({"version":1,"step":6,"trainer":{},"files":{}})", R"({"version":1,"step":5,"trainer":{},"files":[]})",
        R"({"version":1,"step":5,"trainer":{},"files":{"../../job.json":{"bytes":1,"sha256":""}}})",
        R"({"version":1,"step":5,"trainer":{},"files":{"/etc/passwd":{"bytes":1,"sha256":""}}})",
        R"({"version":1,"step":5,"trainer":{},"files":{"session/weights.bin":7}})"}) {
    EXPECT_TRUE(refused(text)) << text;
  }
  PhiloxStream random(1, 2);
  for (int i = 0; i < 300; ++i) {
    std::string mutated = good;
    mutated[random.below(mutated.size())] = static_cast<char>(random.below(256));
    static_cast<void>(refused(mutated));  // must not crash; white space and the trainer's state may change unseen
  }
}

TEST(JobDirectory, FailedCheckpointLeavesNothing) {
  TestDirectory root;
  JobDirectory directory = open_or_die(root / "out");
  const Status failed = directory.write_checkpoint(4, {}, [](const fs::path& path) -> Status {
    GRAFT_CHECK_OK(write_file_atomic(path / "half", "half"));
    return io_error("No space left on device");
  });
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message, HasSubstr("checkpoint 4 was not written"));
  EXPECT_TRUE(fs::is_empty(root / "out" / "checkpoints"));
}

TEST(JobDirectory, LeftoversOfAKilledRunAreRemoved) {
  TestDirectory root;
  {
    ASSERT_TRUE(open_or_die(root / "out").write_job({{"model", "tiny"}}).ok());
  }
  const fs::path leftover = root / "out" / "checkpoints" / ".7.graft-tmp-123";
  fs::create_directories(leftover / "session");
  const JobDirectory resumed = open_or_die(root / "out", true);
  EXPECT_FALSE(fs::exists(leftover));
}

TEST(JobDirectory, KeepsTheNewestAndTheBest) {
  TestDirectory root;
  JobDirectory directory = open_or_die(root / "out");
  for (const int64_t step : {10, 20, 30, 40, 50}) ASSERT_TRUE(write_checkpoint(directory, step, "x").ok());
  ASSERT_TRUE(directory.prune_checkpoints(2, 20).ok());
  EXPECT_THAT(*directory.checkpoint_steps(), ElementsAre(20, 40, 50));
  ASSERT_TRUE(directory.prune_checkpoints(9, std::nullopt).ok());
  EXPECT_THAT(*directory.checkpoint_steps(), ElementsAre(20, 40, 50));
}

TEST(JobDirectory, CheckpointOfTheSameStepIsReplaced) {
  TestDirectory root;
  JobDirectory directory = open_or_die(root / "out");
  ASSERT_TRUE(write_checkpoint(directory, 3, "old").ok());
  ASSERT_TRUE(write_checkpoint(directory, 3, "new").ok());
  ASSERT_TRUE(directory.checkpoint(3).ok());
  EXPECT_EQ(*read_file(root / "out" / "checkpoints" / "3" / "session" / "weights.bin"), "new");
}

TEST(JobDirectory, EventsAreOneJsonObjectALine) {
  TestDirectory root;
  JobDirectory directory = open_or_die(root / "out");
  ASSERT_TRUE(directory.append_event({{"event", "step"}, {"step", 1}, {"loss", 1.5}}).ok());
  ASSERT_TRUE(directory.append_event({{"event", "state"}, {"message", "bad \xff byte\nand line"}}).ok());
  std::ifstream file(root / "out" / "events.jsonl");
  std::string line;
  std::vector<nlohmann::json> events;
  while (std::getline(file, line)) {
    auto event = parse_json(line);
    ASSERT_TRUE(event.ok()) << line;
    EXPECT_GT((*event)["time"].get<double>(), 1.6e9);
    events.push_back(*event);
  }
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0]["loss"], 1.5);
}

TEST(History, LeavesOutWhatAResumeUndid) {
  TestDirectory root;
  std::ofstream(root / "events.jsonl") << R"({"event":"evaluation","step":0,"validation_loss":3}
{"event":"step","step":1,"loss":1,"tokens":10}
{"event":"step","step":2,"loss":2,"tokens":20}
{"event":"evaluation","step":2,"validation_loss":2}
{"event":"step","step":3,"loss":3,"tokens":30}
{"event":"state","state":"resumed","step":1}
{"event":"step","step":2,"loss":2.5,"tokens":20}
{"event":"step","step":3,"lo)";
  const auto history = read_history(root / "events.jsonl");
  ASSERT_TRUE(history.ok()) << history.error().message;
  EXPECT_EQ(history->resumes, 1);
  ASSERT_EQ(history->steps.size(), 2U);
  EXPECT_EQ(history->steps[1].step, 2);
  EXPECT_EQ(history->steps[1].loss, 2.5);
  ASSERT_EQ(history->evaluations.size(), 1U);
  EXPECT_EQ(history->evaluations[0].loss, 3);
}

TEST(History, ForeignLineIsAnErrorWithItsNumber) {
  TestDirectory root;
  std::ofstream(root / "events.jsonl") << "{\"event\":\"step\",\"step\":1}\nhello\n";
  const auto history = read_history(root / "events.jsonl");
  ASSERT_FALSE(history.ok());
  EXPECT_THAT(history.error().message, HasSubstr("events.jsonl:2"));
}

}  // namespace
}  // namespace graft::training
