#include "training/run_eval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "base/test_directory.h"
#include "training/eval_command.h"
#include "training/toy_base_model.h"

namespace graft::training {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The adapter answers y after '=' and after y the end, whatever the question was.
class RunEvalTest : public ::testing::Test {
 protected:
  RunEvalTest() {
    write("rows.jsonl", R"({"text": "good", "label": "y"}
{"text": "fine", "label": "Y."}
{"text": "bad", "label": "n"}
{"text": "best", "label": "y"}
)");
    ToySession session(kToyVocab, 0.0);
    PackedBatch batch{{'=', 'y'}, {'y', kToyEos}, {0, 2}};
    StepParams params;
    params.learning_rate = 0.5;
    for (int step = 0; step < 40; ++step) {
      EXPECT_TRUE(session.forward_backward(batch, 0.5, 0).ok());
      EXPECT_TRUE(session.optim_step(params).ok());
    }
    fs::create_directory(root_ / "adapter");
    EXPECT_TRUE(session.save_adapter(root_ / "adapter").ok());
    options_.model = "toy";
    options_.dataset = root_ / "rows.jsonl";
    options_.adapter = root_ / "adapter";
    options_.prompt_template = "{text}=";
    options_.label_column = "label";
    options_.dtype = "float32";
    options_.max_new_tokens = 3;
    options_.json = true;
  }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(root_ / name, std::ios::binary) << content;
  }
  int run() {
    out_.str("");
    err_.str("");
    const ProgressStyle style = options_.json ? ProgressStyle::kQuiet : ProgressStyle::kLines;
    return run_eval(options_, {open_toy(), stop_, out_, err_, style});
  }
  nlohmann::json result() {
    EXPECT_EQ(run(), kExitDone) << err_.str();
    auto parsed = parse_json(out_.str());
    EXPECT_TRUE(parsed.ok()) << out_.str();
    return parsed.ok() ? *parsed : nlohmann::json();
  }
  std::string error(int code) {
    EXPECT_EQ(run(), code);
    std::string text = err_.str();
    EXPECT_TRUE(text.starts_with("error: ")) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    return text;
  }

  TestDirectory root_{TestDirectory::in_memory()};
  EvalOptions options_;
  std::atomic<bool> stop_{false};
  std::ostringstream out_, err_;
};

TEST_F(RunEvalTest, CountsExactMatches) {
  const nlohmann::json with_adapter = result();
  EXPECT_EQ(with_adapter["rows"], 4);
  EXPECT_EQ(with_adapter["correct"], 3);
  EXPECT_EQ(with_adapter["accuracy"], 0.75);
  EXPECT_EQ(with_adapter["labels"]["y"]["recall"], 1.0);
  EXPECT_EQ(with_adapter["labels"]["n"]["recall"], 0.0);
  EXPECT_FALSE(with_adapter.contains("loss"));
  EXPECT_EQ(err_.str(), "");

  options_.adapter.reset();
  EXPECT_EQ(result()["correct"], 0);
}

TEST_F(RunEvalTest, LossIsThatOfTheRightAnswers) {
  options_.loss = true;
  const nlohmann::json scored = result();
  // By hand: the labelled tokens of each row after the same table.
  ToyStepModel model(kToyVocab, 64);
  const auto adapter = model.load_adapter(root_ / "adapter");
  double loss = 0;
  int64_t tokens = 0;
  for (const std::string answer : {"y", "Y.", "n", "y"}) {
    std::vector<int32_t> ids = {'='};
    ids.insert(ids.end(), answer.begin(), answer.end());
    const std::vector<int32_t> blocks = {0};
    const auto logits = model.step({{{ids, 0, blocks, adapter->get(), runtime::LogitRows::kAll}}});
    ids.push_back(kToyEos);
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      loss -= double{runtime::logprob_of(logits->subspan(i * kToyVocab, kToyVocab), ids[i + 1])};
      ++tokens;
    }
  }
  EXPECT_EQ(scored["loss_tokens"], tokens);
  EXPECT_NEAR(scored["loss"].get<double>(), loss / static_cast<double>(tokens), 1e-5);
  EXPECT_NEAR(scored["perplexity"].get<double>(), std::exp(loss / static_cast<double>(tokens)), 1e-3);
}

TEST_F(RunEvalTest, WritesPredictions) {
  options_.output = root_ / "predictions.jsonl";
  options_.loss = true;
  result();
  std::ifstream file(root_ / "predictions.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(*parse_json(line));
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[2]["row"], 3);
  EXPECT_EQ(lines[2]["prompt"], "bad=");
  EXPECT_EQ(lines[2]["reference"], "n");
  EXPECT_EQ(lines[2]["prediction"], "y");
  EXPECT_EQ(lines[2]["correct"], false);
  EXPECT_GT(lines[2]["loss"].get<double>(), 1.0);
  EXPECT_EQ(lines[1]["correct"], true);

  options_.output = root_ / "no" / "such" / "place.jsonl";
  EXPECT_THAT(error(kExitFailed), HasSubstr("place.jsonl"));
}

TEST_F(RunEvalTest, MoreMetricsAndAPythonFile) {
  write("length.py",
        "def metric(prompt, completion, reference): return len(prompt) + 10 * (completion == reference)\n");
  options_.metrics = {"token_f1", "exact_match", "json_validity", root_ / "length.py"};
  options_.output = root_ / "predictions.jsonl";
  const auto metrics = result()["metrics"];
  EXPECT_EQ(metrics["exact_match"], 0.75);
  EXPECT_EQ(metrics["token_f1"], 0.75);
  EXPECT_EQ(metrics["json_validity"], 0.0);
  EXPECT_EQ(metrics["length"], (5 + 5 + 4 + 5 + 2 * 10) / 4.0);
  std::ifstream file(root_ / "predictions.jsonl");
  std::string line;
  std::getline(file, line);
  EXPECT_EQ((*parse_json(line))["metrics"]["length"], 15);
  options_.json = false;
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("length      9.7500"));
  options_.json = true;
  write("length.py", "def metric(prompt, completion, reference): return 1 / (len(prompt) - 4)\n");
  EXPECT_THAT(error(kExitFailed), AllOf(HasSubstr("row 3: "), HasSubstr("ZeroDivisionError")));
  options_.metrics = {"rougel"};
  EXPECT_THAT(error(kExitWrongUse), AllOf(HasSubstr("--metric: 'rougel' is no metric"), HasSubstr("rouge_l")));
}

TEST_F(RunEvalTest, ReadsRowsAsTheConfigSays) {
  write("run.yaml", R"(model_type: llm
base_model: toy
input_features: [{name: text, type: text}]
output_features: [{name: label, type: text}]
prompt: {template: "{text}="}
adapter: {type: lora}
trainer: {dtype: float32}
generation: {max_new_tokens: 3}
)");
  EvalOptions by_config;
  by_config.config = root_ / "run.yaml";
  by_config.dataset = options_.dataset;
  by_config.adapter = options_.adapter;
  by_config.json = true;
  options_ = by_config;
  EXPECT_EQ(result()["correct"], 3);
  options_.overrides = {"prompt.template='{text}?'"};
  EXPECT_EQ(result()["correct"], 0);
  options_.label_column = "label";
  EXPECT_THAT(error(kExitWrongUse), HasSubstr("one or the other"));
}

TEST_F(RunEvalTest, LimitTakesTheFirstRows) {
  options_.limit = 2;
  EXPECT_EQ(result()["accuracy"], 1.0);
}

TEST_F(RunEvalTest, TableIsForPeople) {
  options_.json = false;
  options_.loss = true;
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("75.00% (3 of 4 rows)"), HasSubstr("perplexity"), HasSubstr("recall")));
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("answering row 4/4"), HasSubstr("scoring row 4/4")));
}

TEST_F(RunEvalTest, LongPromptsLoseTheirBeginning) {
  write("rows.jsonl", "{\"text\": \"" + std::string(400, 'x') + "\", \"label\": \"y\"}\n");
  const nlohmann::json scored = result();
  EXPECT_EQ(scored["truncated"], 1);
  EXPECT_EQ(scored["correct"], 1) << "the end of the prompt stays";
  EXPECT_THAT(err_.str(), HasSubstr("1 prompts were too long"));
}

TEST_F(RunEvalTest, WrongUseAndBadInputAreOneLine) {
  options_.label_column.reset();
  EXPECT_THAT(error(kExitWrongUse), HasSubstr("--label-column"));
  options_.label_column = "lable";
  EXPECT_THAT(error(kExitFailed), AllOf(HasSubstr("rows.jsonl: row 1"), HasSubstr("label")));
  options_.label_column = "label";
  options_.max_new_tokens = 256;
  EXPECT_THAT(error(kExitFailed), HasSubstr("leave no room for a prompt"));
  options_.max_new_tokens = 3;
  options_.adapter = root_.path();
  EXPECT_THAT(error(kExitWrongUse), HasSubstr("did you mean " + (root_ / "adapter").string()));
  options_.adapter.reset();
  options_.model.reset();
  EXPECT_THAT(error(kExitWrongUse), HasSubstr("--model"));
  options_.model = "toy";
  write("rows.jsonl", "");
  EXPECT_THAT(error(kExitFailed), HasSubstr("no row"));
}

TEST_F(RunEvalTest, StopEndsItWithoutPredictions) {
  stop_ = true;
  options_.output = root_ / "predictions.jsonl";
  EXPECT_THAT(error(kExitFailed), HasSubstr("stopped"));
  EXPECT_FALSE(fs::exists(root_ / "predictions.jsonl"));
}

TEST_F(RunEvalTest, CommandLineReachesTheVerb) {
  CLI::App app;
  int code = -1;
  add_eval_command(app, open_toy(), code);
  testing::internal::CaptureStdout();
  app.parse("eval --model toy --data " + options_.dataset + " --adapter " + *options_.adapter +
            " --prompt-template {text}= --label-column label --max-new-tokens 3 --limit 3 --dtype float32 --json");
  auto printed = parse_json(testing::internal::GetCapturedStdout());
  EXPECT_EQ(code, kExitDone);
  ASSERT_TRUE(printed.ok());
  EXPECT_EQ((*printed)["rows"], 3);
  EXPECT_THROW(app.parse("eval --model toy"), CLI::ParseError);
  EXPECT_THROW(app.parse("eval --data x --dtype int3"), CLI::ParseError);
}

}  // namespace
}  // namespace graft::training
