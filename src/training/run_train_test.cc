#include "training/run_train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "training/job_directory.h"
#include "training/toy_base_model.h"
#include "training/train_command.h"

namespace graft::training {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class RunTrainTest : public ::testing::Test {
 protected:
  RunTrainTest() {
    write("run.yaml", R"(model_type: llm
base_model: toy
input_features: [{name: text, type: text}]
output_features: [{name: label, type: text}]
prompt: {template: "{text}="}
preprocessing:
  split: {type: random, probabilities: [0.8, 0.2, 0.0]}
adapter: {type: lora, dropout: 0.1}
trainer:
  epochs: 6
  learning_rate: 0.1
  max_batch_tokens: 64
  max_micro_batch_tokens: 32
  early_stop: -1
  dtype: float32
generation: {max_new_tokens: 4}
)");
    std::string rows;
    for (int i = 0; i < 40; ++i) {
      const char* row = i % 2 == 0 ? R"({"text": "good", "label": "yes"})" : R"({"text": "bad", "label": "yes"})";
      rows += std::string(row) + "\n";
    }
    write("rows.jsonl", rows);
    options_.config = root_ / "run.yaml";
    options_.dataset = root_ / "rows.jsonl";
    options_.output = root_ / "out";
  }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(root_ / name, std::ios::binary) << content;
  }
  int run() {
    out_.str("");
    err_.str("");
    const ProgressStyle style = options_.json ? ProgressStyle::kQuiet : ProgressStyle::kLines;
    return run_train(options_, {open_toy(prepare_), stop_, out_, err_, style});
  }
  std::string read(const std::string& name) {
    auto content = read_file(root_ / name);
    return content.ok() ? *content : content.error().message;
  }
  // The one line that an error is.
  std::string error() {
    std::string text = err_.str();
    EXPECT_TRUE(text.starts_with("error: ")) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    return text;
  }

  TestDirectory root_{TestDirectory::in_memory()};
  TrainOptions options_;
  ToyBaseModel::Prepare prepare_;
  std::atomic<bool> stop_{false};
  std::ostringstream out_, err_;
};

TEST_F(RunTrainTest, LeavesAdapterCertificateReportAndEvents) {
  ASSERT_EQ(run(), kExitDone) << err_.str();
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors", "certificate.json", "config.yaml",
                           "report.html", "README.md"}) {
    EXPECT_TRUE(fs::exists(root_ / "out" / "adapter" / name)) << name;
  }
  auto certificate = parse_json(read("out/adapter/certificate.json"));
  ASSERT_TRUE(certificate.ok());
  EXPECT_EQ((*certificate)["holds"], true);
  EXPECT_EQ((*certificate)["base_digest"], "toy-digest");
  EXPECT_GE((*certificate)["examples"].size(), 1U);

  const std::string report = read("out/adapter/report.html");
  EXPECT_THAT(report, AllOf(HasSubstr("toy on rows.jsonl"), HasSubstr("<h3>Fine-tuned</h3><p>yes</p>"),
                            HasSubstr("validation loss"), HasSubstr("base_model: toy")));
  auto job = parse_json(read("out/job.json"));
  ASSERT_TRUE(job.ok());
  EXPECT_EQ((*job)["config"]["trainer"]["learning_rate"], 0.1);
  EXPECT_EQ((*job)["environment"]["threads"], 1);
  EXPECT_EQ((*job)["dataset_sha256"].get<std::string>().size(), 64U);
  const auto history = read_history(root_ / "out" / "events.jsonl");
  ASSERT_TRUE(history.ok());
  EXPECT_EQ(history->state, "finished");
  EXPECT_LT(history->evaluations.back().loss, history->evaluations.front().loss);
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("base model"), HasSubstr("[["), HasSubstr("graft prompt --model toy"),
                                HasSubstr("report.html")));
}

TEST_F(RunTrainTest, TheModelCardIsWhatHubsRead) {
  options_.overrides = {"prompt.template=```{text}```|<b>="};
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_EQ(run_python(R"py(
import sys, json
from huggingface_hub import ModelCard
card = ModelCard.load(sys.argv[1] + "/adapter/README.md")
data = card.data.to_dict()
assert data["base_model"] == "toy" and data["library_name"] == "peft" and data["pipeline_tag"] == "text-generation", data
assert "base_model:adapter:toy" in data["tags"] and "lora" in data["tags"], data
(result,) = card.data.eval_results
assert (result.metric_type, result.dataset_name, result.task_type) == ("loss", "rows.jsonl", "text-generation")
events = [json.loads(line) for line in open(sys.argv[1] + "/events.jsonl")]
losses = {e["step"]: e["validation_loss"] for e in events if e["event"] == "evaluation"}
kept = next(e["kept_step"] for e in events if e.get("state") == "finished")
assert abs(result.metric_value - losses[kept]) < 1e-5 * abs(losses[kept]) + 1e-9
text = card.text
for part in ("graft serve --model toy", "PeftModel.from_pretrained", "graft merge --model toy", "toy-digest", "rows.jsonl",
             "````text\n```{text}```|<b>=\n````"):
    assert part in text, part
assert sys.argv[1] not in card.content, "a path of this machine"
)py",
                       {root_ / "out"}),
            "");
}

TEST_F(RunTrainTest, TheModelCardSaysWhatTheAdapterIsWithoutPathsOfThisMachine) {
  ASSERT_EQ(run(), kExitDone) << err_.str();
  const std::string card = read("out/adapter/README.md");
  EXPECT_THAT(card, AllOf(HasSubstr("# toy fine-tuned on rows.jsonl"), HasSubstr("validation loss of this adapter"),
                          HasSubstr("`certificate.json` holds the log-probabilities of ")));
  EXPECT_EQ(card.find(root_.path().string()), std::string::npos);
}

TEST_F(RunTrainTest, RecordsForOtherProgramsGoOnAfterAResumeEvenWhereOneIsAdded) {
  options_.overrides = {"logging.tensorboard=true"};
  prepare_ = [this](ToySession& session) { session.on_forward = [this, &session] { stop_ = session.calls == 9; }; };
  EXPECT_EQ(run(), kExitFailed);
  stop_ = false;
  prepare_ = {};
  options_.resume = true;
  options_.overrides.push_back("logging.mlflow=true");
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_EQ(run_python(R"py(
import sys, json, glob, logging
logging.disable(logging.WARNING)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
accumulator = EventAccumulator(sys.argv[1] + "/tensorboard"); accumulator.Reload()
points = {e.step: e.value for e in accumulator.Scalars("train/loss")}
events = [json.loads(line) for line in open(sys.argv[1] + "/events.jsonl")]
want = {e["step"]: e["loss"] for e in events if e["event"] == "step"}
assert sorted(points) == sorted(want) == list(range(1, max(want) + 1)), (points, want)
assert all(abs(points[s] - want[s]) <= 1e-6 * abs(want[s]) for s in want)
assert len(accumulator.Scalars("train/loss")) == len(want)
(metric,) = glob.glob(sys.argv[1] + "/mlruns/*/*/metrics/train/loss")
lines = [line.split() for line in open(metric)]
assert {int(s): float(v) for _, v, s in lines} == {s: v for s, v in want.items() if s >= int(lines[0][2])}
)py",
                       {root_ / "out"}),
            "");
}

TEST_F(RunTrainTest, EvaluatesByGenerationWithTextMetricsAndAPythonFile) {
  write("score.py",
        "def metric(prompt, completion, reference): return 0.25 + 0.5 * completion.startswith(reference)\n");
  options_.overrides = {"trainer.validation_metric=" + (root_ / "score.py").string(),
                        "trainer.evaluation_metrics=[exact_match, token_f1]", "trainer.evaluation_rows=5"};
  options_.json = true;
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_EQ((*parse_json(out_.str()))["score"], 0.75);
  std::istringstream events(read("out/events.jsonl"));
  nlohmann::json last;
  for (std::string line; std::getline(events, line);) {
    auto event = *parse_json(line);
    if (event["event"] == "evaluation") last = event;
  }
  EXPECT_EQ(last["metrics"]["score"], 0.75);
  EXPECT_EQ(last["metrics"]["exact_match"], 1.0);
  EXPECT_EQ(last["metrics"]["token_f1"], 1.0);

  options_.output = root_ / "none";
  options_.overrides.push_back("preprocessing.split.probabilities=[1, 0, 0]");
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), HasSubstr("need validation rows"));
}

TEST_F(RunTrainTest, JsonIsOneObjectAndNoProgress) {
  options_.json = true;
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_EQ(err_.str(), "");
  auto result = parse_json(out_.str());
  ASSERT_TRUE(result.ok()) << out_.str();
  EXPECT_EQ((*result)["state"], "finished");
  EXPECT_GT((*result)["tokens"].get<int64_t>(), 0);
  EXPECT_EQ((*result)["certificate_holds"], true);
}

TEST_F(RunTrainTest, StopSaysHowToResumeAndResumeGivesTheSameAdapter) {
  ASSERT_EQ(run(), kExitDone) << err_.str();
  const std::string undisturbed = read("out/adapter/adapter_model.safetensors");

  options_.output = root_ / "second out";
  options_.overrides = {"trainer.epochs=6"};
  prepare_ = [this](ToySession& session) { session.on_forward = [this, &session] { stop_ = session.calls == 21; }; };
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("Stopped after step"), HasSubstr("Go on with:\n  graft train "),
                                HasSubstr("--set trainer.epochs=6"), HasSubstr("/second out' --resume")));
  EXPECT_FALSE(fs::exists(root_ / "second out" / "adapter"));

  stop_ = false;
  prepare_ = {};
  options_.resume = true;
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("resuming from"));
  EXPECT_EQ(read("second out/adapter/adapter_model.safetensors"), undisturbed);

  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("finished already"));
}

TEST_F(RunTrainTest, ResumeWithOtherSettingsIsRefusedWithTheirNames) {
  prepare_ = [this](ToySession& session) { session.on_forward = [this, &session] { stop_ = session.calls == 9; }; };
  ASSERT_EQ(run(), kExitFailed);
  stop_ = false;
  prepare_ = {};
  options_.resume = true;
  options_.json = true;
  options_.overrides = {"trainer.learning_rate=0.2"};
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), HasSubstr("the run was started with trainer.learning_rate = 0.1, not 0.2"));

  options_.overrides.clear();
  write("rows.jsonl", read("rows.jsonl") + "{\"text\": \"new\", \"label\": \"no\"}\n");
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), HasSubstr("dataset_sha256"));

  std::string rows = read("rows.jsonl");
  write("rows.jsonl", rows.substr(0, rows.find("{\"text\": \"new\"")));
  std::string job = read("out/job.json");
  job.replace(job.find("toy-digest"), 10, "old-digest");
  write("out/job.json", job);
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), AllOf(HasSubstr("base_digest"), HasSubstr("old-digest")));
}

TEST_F(RunTrainTest, WrongUseIsExitCodeTwoAndLeavesNothing) {
  options_.json = true;
  options_.overrides = {"trainer.learning_rat=1"};
  EXPECT_EQ(run(), kExitWrongUse);
  EXPECT_THAT(error(), HasSubstr("did you mean"));

  options_.overrides.clear();
  options_.dataset.reset();
  EXPECT_EQ(run(), kExitWrongUse);
  EXPECT_THAT(error(), HasSubstr("--dataset FILE"));

  options_.dataset = root_ / "rows.jsonl";
  options_.config = root_ / "missing.yaml";
  EXPECT_EQ(run(), kExitWrongUse);
  EXPECT_THAT(error(), HasSubstr("missing.yaml"));
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(RunTrainTest, BadInputIsExitCodeOneAndLeavesNothing) {
  options_.json = true;
  options_.model = "nope";
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), HasSubstr("nope: no such model"));

  options_.model.reset();
  options_.dataset = root_ / "none.jsonl";
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), HasSubstr("none.jsonl"));

  write("bad.jsonl", "{\"text\": \"good\"}\n");
  options_.dataset = root_ / "bad.jsonl";
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), AllOf(HasSubstr("bad.jsonl"), HasSubstr("row 1"), HasSubstr("label")));
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(RunTrainTest, WhatCannotFitIsRefusedBeforeTheStart) {
  options_.json = true;
  options_.overrides = {"trainer.max_batch_tokens=16000000", "trainer.max_micro_batch_tokens=16000000"};
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), AllOf(HasSubstr("of memory"), HasSubstr("trainer.max_micro_batch_tokens")));
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(RunTrainTest, UnknownTargetModuleIsRefusedBeforeTheStart) {
  options_.json = true;
  options_.overrides = {"adapter.target_modules=[q_prj]"};
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), HasSubstr("q_prj"));
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(RunTrainTest, OccupiedOutputIsRefused) {
  options_.json = true;
  fs::create_directory(root_ / "out");
  write("out/precious.txt", "x");
  EXPECT_EQ(run(), kExitWrongUse);
  EXPECT_THAT(error(), AllOf(HasSubstr("is not empty"), HasSubstr("--resume")));
}

TEST_F(RunTrainTest, NanNamesTheRows) {
  options_.json = true;
  prepare_ = [](ToySession& session) { session.poison_token = '='; };
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), AllOf(HasSubstr("the loss is nan, caused by row "), HasSubstr("lower trainer.learning_rate")));
  EXPECT_FALSE(fs::exists(root_ / "out" / "adapter"));
}

TEST_F(RunTrainTest, CertificateThatDoesNotHoldIsSaid) {
  prepare_ = [](ToySession& session) { session.snapshot_error = 0.5; };
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("warning: the engine's log-probabilities differ"), HasSubstr("1e-04")));
  EXPECT_THAT(read("out/adapter/report.html"), HasSubstr("report this as a bug"));
}

TEST_F(RunTrainTest, OverlongRowsAreCountedOrRefused) {
  std::string rows = read("rows.jsonl");
  rows += "{\"text\": \"" + std::string(100, 'g') + "\", \"label\": \"yes\"}\n";
  write("rows.jsonl", rows);
  options_.overrides = {"preprocessing.global_max_sequence_length=20"};
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("warning: 1 of 41 rows were longer than 20 tokens and were truncated"));

  options_.output = root_ / "out2";
  options_.json = true;
  options_.overrides.push_back("preprocessing.overlong_rows=refuse");
  EXPECT_EQ(run(), kExitFailed);
  EXPECT_THAT(error(), HasSubstr("row 41"));
}

TEST_F(RunTrainTest, CommandLineReachesTheVerb) {
  CLI::App app;
  int code = -1;
  add_train_command(app, open_toy(), code);
  testing::internal::CaptureStdout();
  app.parse("train " + options_.config + " --set trainer.epochs=1 --set random_seed=7 --dataset " + *options_.dataset +
            " --output " + options_.output + " --dtype bfloat16 --threads 3 --json");
  const std::string printed = testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, kExitDone);
  EXPECT_TRUE(parse_json(printed).ok()) << printed;
  auto job = parse_json(read("out/job.json"));
  ASSERT_TRUE(job.ok());
  EXPECT_EQ((*job)["config"]["random_seed"], 7);
  EXPECT_EQ((*job)["config"]["trainer"]["dtype"], "bfloat16");
  EXPECT_EQ((*job)["environment"]["threads"], 3);
  EXPECT_THROW(app.parse("train"), CLI::ParseError);
  EXPECT_THROW(app.parse("train x.yaml --threads -1"), CLI::ParseError);
}

}  // namespace
}  // namespace graft::training
