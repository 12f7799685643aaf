#include "training/python_metric.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/test_directory.h"

namespace graft::training {
namespace {

using ::testing::HasSubstr;

class PythonMetricTest : public ::testing::Test {
 protected:
  Result<PythonMetric> start(const std::string& code) {
    std::ofstream(root_ / "score.py") << code;
    PythonMetricOptions options;
    options.python = GRAFT_PYTHON;
    options.row_limit = limit_;
    return PythonMetric::start((root_ / "score.py").string(), options);
  }
  std::string start_error(const std::string& code) {
    const auto metric = start(code);
    return metric.ok() ? "no error" : metric.error().message;
  }

  TestDirectory root_;
  std::chrono::milliseconds limit_{20'000};
};

TEST_F(PythonMetricTest, ScoresRowAfterRow) {
  auto metric = start(R"(
import helper
print("printing disturbs nothing")
def metric(prompt, completion, reference):
    print("nor here")
    return helper.bonus(prompt) + (completion == reference)
)");
  EXPECT_FALSE(metric.ok());  // no helper yet
  std::ofstream(root_ / "helper.py") << "def bonus(text): return len(text)\n";
  metric = start(
      "import helper\ndef metric(prompt, completion, reference):\n  print('x')\n"
      "  return helper.bonus(prompt) + (completion == reference)\n");
  ASSERT_TRUE(metric.ok()) << metric.error().message;
  EXPECT_EQ(*metric->score("ab", "x", "x"), 3);
  EXPECT_EQ(*metric->score("\xC3\xA9\n", "x", "y"), 2);
  const std::string large(3 << 20, 'p');
  EXPECT_EQ(*metric->score(large, "x", "y"), 3 << 20);
}

TEST_F(PythonMetricTest, WhatIsWrongIsSaid) {
  EXPECT_THAT(start_error("x = 1\n"), HasSubstr("score.py: TypeError: it has no function metric"));
  EXPECT_THAT(start_error("def metric(:\n"), HasSubstr("SyntaxError"));
  EXPECT_THAT(start_error("import no_such_module\n"), HasSubstr("No module named 'no_such_module'"));
  EXPECT_THAT(start_error("import os\nos._exit(3)\n"), HasSubstr("its process ended"));
  const auto none = PythonMetric::start((root_ / "none.py").string());
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("none.py: no such file"));
}

TEST_F(PythonMetricTest, BadScoresAreErrorsAndTheNextRowGoesOn) {
  auto metric = start(R"(
def metric(prompt, completion, reference):
    if prompt == "raise": raise KeyError("label")
    if prompt == "nan": return float("nan")
    if prompt == "text": return "much"
    if prompt == "exit": raise SystemExit(1)
    return 0.5
)");
  ASSERT_TRUE(metric.ok()) << metric.error().message;
  for (const auto& [prompt, part] : {std::pair{"raise", "KeyError: 'label'"},
                                     {"nan", "the score is nan"},
                                     {"text", "could not convert"},
                                     {"exit", "SystemExit"}}) {
    const auto score = metric->score(prompt, "", "");
    ASSERT_FALSE(score.ok());
    EXPECT_THAT(score.error().message, HasSubstr(part));
  }
  EXPECT_EQ(*metric->score("", "", ""), 0.5);
}

TEST_F(PythonMetricTest, WhatHangsIsEnded) {
  limit_ = std::chrono::milliseconds(300);
  auto metric = start("import time\ndef metric(prompt, completion, reference):\n  time.sleep(1000)\n");
  ASSERT_TRUE(metric.ok()) << metric.error().message;
  const auto score = metric->score("", "", "");
  ASSERT_FALSE(score.ok());
  EXPECT_THAT(score.error().message, HasSubstr("took too long"));
  EXPECT_FALSE(metric->score("", "", "").ok());
}

// Stands in for bubblewrap, which may not be there: it says how it was called, and runs what comes behind its options.
TEST_F(PythonMetricTest, RunsInBubblewrapWhereItIsThere) {
  std::ofstream(root_ / "bwrap") << "#!/bin/sh\necho \"$*\" | head -1 > '" << (root_ / "called").string()
                                 << "'\nwhile [ \"$1\" != ALL ]; do shift; done\nshift\nexec \"$@\"\n";
  chmod((root_ / "bwrap").c_str(), 0755);
  const std::string path = std::getenv("PATH");
  setenv("PATH", (root_.path().string() + ":" + path).c_str(), 1);
  auto metric = start("def metric(prompt, completion, reference): return 1\n");
  ASSERT_TRUE(metric.ok()) << metric.error().message;
  EXPECT_EQ(*metric->score("", "", ""), 1);
  std::ifstream called(root_ / "called");
  const std::string words((std::istreambuf_iterator<char>(called)), {});
  EXPECT_THAT(words, ::testing::AllOf(HasSubstr("--ro-bind / /"), HasSubstr("--unshare-all")));
  // One that is there but does not work is done without.
  std::ofstream(root_ / "bwrap") << "#!/bin/sh\nexit 1\n";
  metric = start("def metric(prompt, completion, reference): return 2\n");
  setenv("PATH", path.c_str(), 1);
  ASSERT_TRUE(metric.ok()) << metric.error().message;
  EXPECT_EQ(*metric->score("", "", ""), 2);
}

TEST_F(PythonMetricTest, RealBubblewrapLetsItReadButNotWriteNorConnect) {
  if (std::system("bwrap --ro-bind / / --unshare-all true 2>/dev/null") != 0) GTEST_SKIP() << "no working bubblewrap";
  auto metric = start(R"(
import os, socket
def metric(prompt, completion, reference):
    try: open(prompt, "w")
    except OSError: return len(os.listdir(os.path.dirname(prompt)))
    return -1
)");
  ASSERT_TRUE(metric.ok()) << metric.error().message;
  EXPECT_EQ(*metric->score((root_ / "new").string(), "", ""), 1);
  metric = start(R"(
import socket
def metric(prompt, completion, reference): return len(socket.if_nameindex())
)");
  ASSERT_TRUE(metric.ok()) << metric.error().message;
  EXPECT_EQ(*metric->score("", "", ""), 1);  // the loopback
}

}  // namespace
}  // namespace graft::training
