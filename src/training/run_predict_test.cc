#include "training/run_predict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "base/test_directory.h"
#include "training/predict_command.h"
#include "training/toy_base_model.h"

namespace graft::training {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The base answers something; the adapter answers y after '=' and after y the end.
class RunPredictTest : public ::testing::Test {
 protected:
  RunPredictTest() {
    std::string rows;
    for (int i = 0; i < 600; ++i) rows += R"({"text": "row )" + std::to_string(i) + "\"}\n";
    write("rows.jsonl", rows);
    ToySession session(kToyVocab, 0.0);
    PackedBatch batch{{'=', 'y'}, {'y', kToyEos}, {0, 2}};
    for (int step = 0; step < 40; ++step) {
      EXPECT_TRUE(session.forward_backward(batch, 0.5, 0).ok());
      EXPECT_TRUE(session.optim_step({0.5, 0}).ok());
    }
    fs::create_directory(root_ / "adapter");
    EXPECT_TRUE(session.save_adapter(root_ / "adapter").ok());
    options_.model = "toy";
    options_.dataset = root_ / "rows.jsonl";
    options_.adapter = root_ / "adapter";
    options_.prompt_template = "{text}=";
    options_.dtype = "float32";
    options_.max_new_tokens = 3;
    options_.output = root_ / "out.jsonl";
  }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(root_ / name, std::ios::binary) << content;
  }
  int run() {
    out_.str("");
    err_.str("");
    return run_predict(options_, {open_toy(), stop_, out_, err_, ProgressStyle::kQuiet});
  }
  std::string error(int code) {
    EXPECT_EQ(run(), code);
    return err_.str();
  }
  [[nodiscard]] std::string written() const {
    std::ifstream file(root_ / "out.jsonl");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::vector<nlohmann::json> lines_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(*parse_json(line));
    return lines;
  }

  TestDirectory root_{TestDirectory::in_memory()};
  PredictOptions options_;
  std::atomic<bool> stop_{false};
  std::ostringstream out_, err_;
};

TEST_F(RunPredictTest, WritesALineForEveryRowInOrder) {
  ASSERT_EQ(run(), kExitDone) << err_.str();
  const auto lines = lines_of(written());
  ASSERT_EQ(lines.size(), 600U);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["row"], i + 1);
    EXPECT_EQ(lines[i]["prompt"], "row " + std::to_string(i) + "=");
    EXPECT_EQ(lines[i]["prediction"], "y");
    EXPECT_EQ(lines[i]["finish_reason"], "eos");
    EXPECT_FALSE(lines[i].contains("reference"));
  }
  EXPECT_THAT(out_.str(), HasSubstr("600 rows"));
}

TEST_F(RunPredictTest, ResumeGoesOnBehindWhatIsThereAndGivesTheSameFile) {
  options_.temperature = 1.0;
  options_.adapter.reset();
  ASSERT_EQ(run(), kExitDone) << err_.str();
  const std::string whole = written();
  EXPECT_THAT(error(kExitFailed), AllOf(HasSubstr("is there already"), HasSubstr("--resume")));
  // Cut anywhere, within a line too; and without anything to do.
  for (const size_t size : {size_t{0}, size_t{10}, whole.size() / 3, whole.size() - 1, whole.size()}) {
    write("out.jsonl", whole.substr(0, size));
    options_.resume = true;
    ASSERT_EQ(run(), kExitDone) << err_.str();
    EXPECT_EQ(written(), whole) << size;
  }
}

TEST_F(RunPredictTest, AnotherDatasOutputIsNotGoneOnWith) {
  options_.limit = 5;
  ASSERT_EQ(run(), kExitDone) << err_.str();
  options_.resume = true;
  options_.prompt_template = "{text}?";
  EXPECT_THAT(error(kExitFailed), HasSubstr("line 5 is not of row 5"));
  options_.limit = 3;
  EXPECT_THAT(error(kExitFailed), HasSubstr("belongs to other data"));
  write("out.jsonl", "hello\n");
  EXPECT_THAT(error(kExitFailed), HasSubstr("out.jsonl:1: not a line of graft predict"));
  options_.output.reset();
  EXPECT_THAT(error(kExitWrongUse), HasSubstr("--resume needs --output"));
}

TEST_F(RunPredictTest, StopKeepsWhatIsWrittenAndSaysHowToGoOn) {
  stop_ = true;
  EXPECT_THAT(error(kExitFailed), AllOf(HasSubstr("stopped after 0 of 600 rows"), HasSubstr("--resume")));
  stop_ = false;
  options_.resume = true;
  EXPECT_EQ(run(), kExitDone) << err_.str();
}

TEST_F(RunPredictTest, RowsMayHaveAnswersOrNot) {
  options_.output.reset();
  options_.prompt_template.reset();
  write("rows.jsonl", "{\"prompt\": \"a=\", \"completion\": \"y\"}\n{\"prompt\": \"b=\"}\n");
  ASSERT_EQ(run(), kExitDone) << err_.str();
  auto lines = lines_of(out_.str());
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["reference"], "y");
  EXPECT_FALSE(lines[1].contains("reference"));
  EXPECT_EQ(lines[1]["prediction"], "y");
  options_.prompt_template = "{text}=";
  options_.label_column = "label";
  write("rows.jsonl", "{\"text\": \"a\", \"label\": \"n\"}\n{\"text\": \"a\", \"label\": null}\n");
  ASSERT_EQ(run(), kExitDone) << err_.str();
  lines = lines_of(out_.str());
  EXPECT_EQ(lines[0]["reference"], "n");
  EXPECT_FALSE(lines[1].contains("reference"));
}

TEST_F(RunPredictTest, BadRowsAreFoundBeforeTheFirstAnswer) {
  write("rows.jsonl", "{\"text\": \"a\"}\n{\"txet\": \"b\"}\n");
  EXPECT_THAT(error(kExitFailed), AllOf(HasSubstr("rows.jsonl: row 2"), HasSubstr("did you mean")));
  EXPECT_FALSE(fs::exists(root_ / "out.jsonl"));
  write("rows.jsonl", "");
  EXPECT_THAT(error(kExitFailed), HasSubstr("has no row"));
  options_.model.reset();
  EXPECT_THAT(error(kExitWrongUse), HasSubstr("--model"));
}

TEST_F(RunPredictTest, OverlongPromptsAreCutOrAnsweredWithAnError) {
  write("rows.jsonl", "{\"text\": \"" + std::string(400, 'x') + "\"}\n{\"text\": \"b\"}\n");
  ASSERT_EQ(run(), kExitDone) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("1 prompts were too long"));
  EXPECT_EQ(lines_of(written())[0]["prediction"], "y");
  write(
      "run.yaml",
      "model_type: llm\nbase_model: toy\ninput_features: [{name: text, type: text}]\noutput_features: [{name: label}]\n"
      "adapter: {type: lora}\npreprocessing: {overlong_rows: drop}\ntrainer: {dtype: float32}\n");
  options_.config = root_ / "run.yaml";
  options_.prompt_template.reset();
  options_.dtype.reset();
  options_.output = root_ / "dropped.jsonl";
  ASSERT_EQ(run(), kExitDone) << err_.str();
  std::ifstream file(root_ / "dropped.jsonl");
  const auto lines = lines_of({std::istreambuf_iterator<char>(file), {}});
  EXPECT_EQ(lines[0]["error"], "the prompt is too long");
  EXPECT_TRUE(lines[1].contains("prediction"));
}

TEST_F(RunPredictTest, CommandLineReachesTheVerb) {
  CLI::App app;
  int code = -1;
  add_predict_command(app, open_toy(), code);
  testing::internal::CaptureStdout();
  app.parse("predict " + options_.dataset + " --model toy --adapter " + *options_.adapter +
            " --prompt-template {text}= --max-new-tokens 3 --limit 3 --dtype float32 --json --output " +
            *options_.output);
  const auto printed = parse_json(testing::internal::GetCapturedStdout());
  EXPECT_EQ(code, kExitDone);
  ASSERT_TRUE(printed.ok());
  EXPECT_EQ((*printed)["rows"], 3);
  EXPECT_EQ(lines_of(written()).size(), 3U);
  EXPECT_THROW(app.parse("predict --model toy"), CLI::ParseError);
}

}  // namespace
}  // namespace graft::training
