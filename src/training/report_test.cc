#include "training/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/files.h"
#include "base/test_directory.h"

namespace graft::training {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

ReportData example() {
  ReportData data;
  data.title = "SmolLM2-135M-Instruct on mails.jsonl";
  data.outcome = "Finished after 120 steps. The adapter holds the parameters of step 100, the best validation loss.";
  data.headline = {{"validation loss", "2.31 → 0.42"},
                   {"training speed", "1 204 tokens/s"},
                   {"time", "3m 05s"},
                   {"trainable parameters", "4.9 M of 135 M"},
                   {"peak memory", "1.1 GiB"}};
  for (int64_t step = 1; step <= 120; ++step) {
    const auto x = static_cast<double>(step);
    const double wave = 0.15 * std::sin(x * 12.9898) * std::exp(-x / 90);
    data.history.steps.push_back({step, x / 60, 0.35 + 2 * std::exp(-x / 18) + wave, 5e-4 * (1 - x / 121),
                                  0.4 + 2 * std::exp(-x / 10) + wave, 1.5 + wave, 2048, step * 2048});
  }
  for (int64_t step = 0; step <= 120; step += 20) {
    data.history.evaluations.push_back({step, 0.42 + 1.9 * std::exp(-static_cast<double>(step) / 16)});
  }
  data.kept_step = 100;
  data.samples = {
      {"Subject: You WON!!!\nClaim your prize <b>today</b> & tell \"everybody\"", "spam", "I am not sure what", "spam"},
      {"Subject: minutes of Tuesday's meeting\nHi all, the minutes are attached.", "ham", "", "ham"}};
  data.data = {{"file", "mails.jsonl"},
               {"rows", "800"},
               {"training", "720"},
               {"validation", "80"},
               {"truncated", "12 rows, 901 tokens"},
               {"labelled tokens", "1 440 an epoch"}};
  data.performance = {
      {"optimizer steps", "120"}, {"tokens", "245 760"}, {"memory planned", "1.2 GiB"}, {"memory peak", "1.1 GiB"}};
  data.environment = {{"build", "0.1.0 (3f2a91c)"}, {"instruction set", "avx512_bf16"}, {"threads", "2"}};
  data.config_yaml = "model_type: llm\nbase_model: smollm2-135m\ntrainer:\n  learning_rate: 0.0005\n  epochs: 2\n";
  return data;
}

TEST(Report, IsOneSelfContainedPage) {
  const std::string html = render_report(example());
  for (const char* reference : {"http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img"}) {
    EXPECT_THAT(html, Not(HasSubstr(reference)));
  }
  EXPECT_EQ(count(html, "<svg"), 4U);
  EXPECT_EQ(count(html, "<section"), count(html, "</section>"));
  EXPECT_EQ(count(html, "<div"), count(html, "</div>"));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme: dark"));
}

TEST(Report, HasACurveForEachThingThatAStepRecords) {
  const std::string html = render_report(example());
  for (const char* label : {"training and validation loss by step", "learning rate by step", "gradient norm by step",
                            "training tokens a second by step"}) {
    EXPECT_EQ(count(html, label), 1U) << label;
  }
  ReportData timeless = example();
  for (HistoryStep& step : timeless.history.steps) step.seconds = 0;
  EXPECT_EQ(count(render_report(timeless), "tokens a second"), 0U);
}

TEST(Report, ShowsEveryValidationPoint) {
  const std::string html = render_report(example());
  EXPECT_EQ(count(html, "<title>validation: "), 7U);
  EXPECT_THAT(html, HasSubstr("<title>validation: 2.32 at step 0</title>"));
  EXPECT_EQ(count(html, ">adapter</text>"), 1U);
}

TEST(Report, EscapesWhatComesFromTheData) {
  ReportData data = example();
  data.title = "<script>alert(1)</script>";
  data.config_yaml = "a: \"<b>\"";
  const std::string html = render_report(data);
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_THAT(html, HasSubstr("prize &lt;b&gt;today&lt;/b&gt; &amp; tell &quot;everybody&quot;"));
  EXPECT_THAT(html, HasSubstr("a: &quot;&lt;b&gt;&quot;"));
}

TEST(Report, MarksAnswersThatMatchTheData) {
  const std::string html = render_report(example());
  EXPECT_EQ(count(html, "<div class=\"match\"><h3>Fine-tuned"), 2U);
  EXPECT_EQ(count(html, "<div class=\"match\"><h3>Base model"), 0U);
}

TEST(Report, RunWithoutAnyStepStillRenders) {
  ReportData data;
  data.title = "empty";
  const std::string html = render_report(data);
  EXPECT_EQ(count(html, "<svg"), 0U);
  EXPECT_THAT(html, HasSubstr("</html>"));
}

// Look at the page: GRAFT_KEEP_REPORT=FILE training_test --gtest_filter=Report.CanBeLookedAt
TEST(Report, CanBeLookedAt) {
  TestDirectory root;
  const char* keep = std::getenv("GRAFT_KEEP_REPORT");
  const fs::path path = keep == nullptr ? root / "report.html" : fs::path(keep);
  ASSERT_TRUE(write_file_atomic(path, render_report(example())).ok());
  EXPECT_LT(fs::file_size(path), 64U << 10);
}

}  // namespace
}  // namespace graft::training
