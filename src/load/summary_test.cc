#include "load/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/files.h"
#include "base/philox.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "load/arrivals.h"
#include "load/load_report.h"
#include "load/prompt_file.h"

namespace graft::load {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

TEST(Distribution, PercentilesAreNumpys) {
  PhiloxStream random(7, 0);
  for (const size_t count : {1U, 2U, 3U, 10U, 101U, 1000U}) {
    std::vector<double> values;
    nlohmann::json list = nlohmann::json::array();
    for (size_t i = 0; i < count; ++i) {
      values.push_back(random.next_double() * 100);
      list.push_back(values.back());
    }
    const auto expected = nlohmann::json::parse(
        run_python("import json, numpy\nv = numpy.array(" + list.dump() +
                   ")\nprint(json.dumps([float(v.mean()), *map(float, numpy.percentile(v, [50, 90, 99, 100]))]))"));
    const Distribution got = distribution(values);
    EXPECT_EQ(got.count, static_cast<int64_t>(count));
    EXPECT_NEAR(got.mean, expected[0].get<double>(), 1e-9);
    EXPECT_NEAR(got.p50, expected[1].get<double>(), 1e-9);
    EXPECT_NEAR(got.p90, expected[2].get<double>(), 1e-9);
    EXPECT_NEAR(got.p99, expected[3].get<double>(), 1e-9);
    EXPECT_NEAR(got.max, expected[4].get<double>(), 1e-9);
  }
}

RequestRecord answered(double due, double sent, double first, double end, int64_t tokens) {
  RequestRecord one;
  one.due = due;
  one.sent = sent;
  one.first = first;
  one.end = end;
  one.output_tokens = tokens;
  one.prompt_tokens = 10;
  one.gaps.assign(static_cast<size_t>(tokens - 1), (end - first) / static_cast<double>(tokens - 1));
  return one;
}

TEST(Summary, CountsFromWhenARequestWasDueAndLeavesFailedOnesOut) {
  LoadRun run;
  run.requests = {answered(0, 0, 0.5, 1.5, 11), answered(1, 3, 3.5, 4, 6)};
  run.requests.push_back({});
  run.requests.back().end = 10;
  run.requests.back().error = "http 500";
  run.error_texts = {{"http 500", "no"}};
  run.seconds = 10;
  const Summary summary = summarise(run);
  EXPECT_EQ(summary.answered, 2);
  EXPECT_EQ(summary.errors.at("http 500"), 1);
  EXPECT_DOUBLE_EQ(summary.first_token.mean, (500 + 2500) / 2.0);
  EXPECT_DOUBLE_EQ(summary.end_to_end.max, 3000);
  EXPECT_DOUBLE_EQ(summary.per_token.mean, 100);
  EXPECT_EQ(summary.inter_token.count, 15);
  EXPECT_DOUBLE_EQ(summary.output_tokens_per_s, 1.7);
  const auto json = summary_json({}, run);
  EXPECT_EQ(json["errors"]["http 500"]["first"], "no");
  EXPECT_TRUE(summary_json({}, LoadRun{})["time_to_first_token_ms"].is_null());
}

TEST(Arrivals, ArePoissonAndTheSameForASeed) {
  const auto due = poisson_arrivals(20'000, 50, 3);
  EXPECT_EQ(due, poisson_arrivals(20'000, 50, 3));
  EXPECT_NE(due, poisson_arrivals(20'000, 50, 4));
  EXPECT_EQ(due.front(), 0);
  // Gaps of an exponential distribution: mean and deviation are 1/rate, and 1/e of them are longer than that.
  double sum = 0;
  double squares = 0;
  double longer = 0;
  for (size_t i = 1; i < due.size(); ++i) {
    const double gap = due[i] - due[i - 1];
    ASSERT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
    if (gap > 0.02) ++longer;
  }
  const auto count = static_cast<double>(due.size() - 1);
  const double mean = sum / count;
  EXPECT_NEAR(mean, 0.02, 0.0005);
  EXPECT_NEAR(std::sqrt(squares / count - mean * mean), 0.02, 0.001);
  EXPECT_NEAR(longer / count, std::exp(-1.0), 0.01);
}

TEST(Prompts, AreDifferentAndAsLongAsAsked) {
  const std::string one = made_up_prompt(100, 1, 0);
  EXPECT_EQ(std::count(one.begin(), one.end(), ' '), 99);
  EXPECT_EQ(one, made_up_prompt(100, 1, 0));
  EXPECT_NE(one, made_up_prompt(100, 1, 1));
  EXPECT_NE(one, made_up_prompt(100, 2, 0));
}

TEST(PromptFile, ReadsEachSpellingAndNamesTheBadLine) {
  TestDirectory dir;
  const auto path = dir / "prompts.jsonl";
  ASSERT_TRUE(write_file_atomic(path,
                                "{\"prompt\": \"a\"}\n\n{\"inputs\": \"b\", \"max_tokens\": 7}\r\n"
                                "{\"messages\": [{\"role\": \"user\", \"content\": \"c\"}]}")
                  .ok());
  const auto prompts = read_prompts(path);
  ASSERT_TRUE(prompts.ok()) << prompts.error().message;
  ASSERT_THAT(prompts.value(), SizeIs(3));
  EXPECT_EQ((*prompts)[1].text, "b");
  EXPECT_EQ((*prompts)[1].max_tokens, 7);
  EXPECT_TRUE((*prompts)[2].messages.is_array());
  for (const char* bad : {"{\"prompt\": 1}", "{}", "[]", "{", "{\"prompt\": \"a\", \"max_tokens\": 0}"}) {
    ASSERT_TRUE(write_file_atomic(path, std::string("{\"text\": \"a\"}\n") + bad).ok());
    EXPECT_THAT(read_prompts(path).error().message, HasSubstr("prompts.jsonl")) << bad;
    EXPECT_THAT(read_prompts(path).error().message, HasSubstr("2")) << bad;
  }
  ASSERT_TRUE(write_file_atomic(path, "\n").ok());
  EXPECT_FALSE(read_prompts(path).ok());
}

// A server that slows down as its queue grows, for a page to look at.
LoadRun example() {
  LoadRun run;
  const auto due = poisson_arrivals(400, 20, 5);
  PhiloxStream random(11, 0);
  double free_at = 0;
  for (const double at : due) {
    const double start = std::max(at, free_at);
    free_at = start + 0.03 + 0.035 * random.next_double();
    const double first = start + 0.02 + 0.02 * random.next_double();
    run.requests.push_back(answered(at, at, first, first + 0.6 + 0.2 * random.next_double(), 64));
    run.seconds = std::max(run.seconds, run.requests.back().end);
  }
  run.requests[17].error = run.requests[99].error = "http 429 overloaded";
  run.requests[250].error = "connection cut";
  run.error_texts = {{"http 429 overloaded", "the queue is full"}, {"connection cut", "<b>transfer closed</b>"}};
  run.most_in_flight = 41;
  return run;
}

// Look at the page: GRAFT_KEEP_REPORT=FILE load_test --gtest_filter=LoadReport.*
TEST(LoadReport, IsOneSelfContainedPage) {
  LoadOptions options;
  options.url = "server";
  options.rate = 20;
  options.requests = 400;
  options.concurrency = 0;
  const std::string html = render_load_report(options, example());
  for (const char* reference : {"http:", "https:", "src=", "href=", "url(", "@import", "<script", "<b>transfer"}) {
    EXPECT_THAT(html, Not(HasSubstr(reference)));
  }
  EXPECT_THAT(html, HasSubstr("3 of 400 requests failed"));
  EXPECT_THAT(html, Not(HasSubstr("nan")));
  const char* keep = std::getenv("GRAFT_KEEP_REPORT");
  if (keep != nullptr) {
    ASSERT_TRUE(write_file_atomic(keep, html).ok());
  }
}

TEST(LoadReport, OfNothingAnsweredStillRenders) {
  LoadRun run;
  run.requests.resize(3);
  for (RequestRecord& one : run.requests) one.error = "timeout";
  run.error_texts = {{"timeout", "t"}};
  const std::string html = render_load_report({}, run);
  EXPECT_THAT(html, HasSubstr("3 of 3 requests failed"));
  EXPECT_THAT(html, Not(HasSubstr("<svg")));
}

}  // namespace
}  // namespace graft::load
