#include "runtime/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>

namespace graft::runtime {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(size_t size, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

SamplingParams sampled() {
  SamplingParams params;
  params.greedy = false;
  return params;
}

TEST(Sampling, GreedyTakesTheLowestOfEqualLogits) {
  const std::vector<float> logits{0, 5, 5, 1};
  const auto token = sample(logits, {}, {}, {}, 0, 0);
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->id, 1);
}

TEST(Sampling, LogprobIsOfTheUnchangedDistribution) {
  std::mt19937 random(2);
  const std::vector<float> logits = random_logits(500, random);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  SamplingParams params = sampled();
  params.temperature = 0.3;
  params.top_k = 3;
  params.logit_bias = {{7, 40.0F}};
  const auto token = sample(logits, params, {}, {}, 4, 0);
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->id, 7);
  EXPECT_NEAR(token->logprob, static_cast<double>(logits[7]) - std::log(total), 1e-5);
  EXPECT_EQ(token->logprob, logprob_of(logits, 7));
}

TEST(Sampling, TheTokenIsTheSameWithoutItsLogprob) {
  std::mt19937 random(4);
  const std::vector<float> logits = random_logits(500, random);
  for (const SamplingParams& params : {SamplingParams{}, sampled()}) {
    const auto with = sample(logits, params, {}, {}, 3, 0);
    const auto without = sample(logits, params, {}, {}, 3, 0, false);
    ASSERT_TRUE(with.ok() && without.ok());
    EXPECT_EQ(with->id, without->id);
    EXPECT_TRUE(std::isnan(without->logprob));
  }
}

TEST(Sampling, AlternativesAreTheMostLikelyOnesBestFirst) {
  const std::vector<float> logits{1, 4, 2, 4, -kInf};
  const auto token = sample(logits, {}, {}, {}, 0, 3);
  ASSERT_TRUE(token.ok());
  ASSERT_EQ(token->alternatives.size(), 3U);
  EXPECT_EQ(token->alternatives[0].id, 1);
  EXPECT_EQ(token->alternatives[1].id, 3);
  EXPECT_EQ(token->alternatives[2].id, 2);
  EXPECT_EQ(token->alternatives[0].logprob, token->logprob);
  EXPECT_EQ(sample(logits, {}, {}, {}, 0, 100)->alternatives.size(), logits.size());
}

TEST(Sampling, LogitsThatAreNotFiniteAreAnError) {
  for (const auto& logits : {std::vector<float>{1, kNaN, 2}, std::vector<float>{kInf, 1, 2},
                             std::vector<float>{-kInf, -kInf}, std::vector<float>{kNaN}, std::vector<float>{}}) {
    for (const bool greedy : {true, false}) {
      SamplingParams params;
      params.greedy = greedy;
      const auto token = sample(logits, params, {}, {}, 0, 2);
      ASSERT_FALSE(token.ok());
      EXPECT_EQ(token.error().kind, ErrorKind::kInternal);
      EXPECT_FALSE(sampling_distribution(logits, params, {}, {}).ok());
    }
    EXPECT_TRUE(std::isnan(logprob_of(logits, 0)));
  }
}

TEST(Sampling, MaskedTokensAreNeverDrawn) {
  std::vector<float> logits(300, -kInf);
  logits[41] = -2;
  logits[42] = 3;
  std::set<int32_t> seen;
  for (int64_t position = 0; position < 2000; ++position) {
    SamplingParams params = sampled();
    params.top_k = position % 2 == 0 ? 0 : 10;
    seen.insert(sample(logits, params, {}, {}, position, 0)->id);
  }
  EXPECT_EQ(seen, (std::set<int32_t>{41, 42}));
}

TEST(Sampling, SeedAndPositionAreTheWholeState) {
  std::mt19937 random(3);
  const std::vector<float> logits = random_logits(1000, random);
  SamplingParams params = sampled();
  params.seed = 11;
  std::vector<int32_t> first;
  std::vector<int32_t> again;
  std::vector<int32_t> other_seed;
  for (int64_t position = 0; position < 50; ++position)
    first.push_back(sample(logits, params, {}, {}, position, 0)->id);
  for (int64_t position = 0; position < 50; ++position)
    again.push_back(sample(logits, params, {}, {}, position, 5)->id);
  params.seed = 12;
  for (int64_t position = 0; position < 50; ++position) {
    other_seed.push_back(sample(logits, params, {}, {}, position, 0)->id);
  }
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other_seed);
  EXPECT_GT(std::set<int32_t>(first.begin(), first.end()).size(), 10U);
}

TEST(Sampling, FrequenciesFollowTheDistribution) {
  const std::vector<float> logits{0.3F, -1.0F, 2.0F, 1.1F, 0.0F, -kInf, 1.0F};
  SamplingParams params = sampled();
  params.temperature = 0.8;
  params.seed = 99;
  std::map<int32_t, int> counts;
  constexpr int kDraws = 20000;
  for (int64_t position = 0; position < kDraws; ++position) ++counts[sample(logits, params, {}, {}, position, 0)->id];
  const auto distribution = sampling_distribution(logits, params, {}, {});
  ASSERT_TRUE(distribution.ok());
  ASSERT_EQ(distribution->size(), 6U);
  double sum = 0;
  for (const auto& [id, probability] : *distribution) {
    sum += probability;
    // Five standard deviations.
    EXPECT_NEAR(counts[id], kDraws * probability, 5 * std::sqrt(kDraws * probability * (1 - probability))) << id;
  }
  EXPECT_NEAR(sum, 1.0, 1e-12);
}

TEST(Sampling, TinyTemperatureIsGreedy) {
  std::mt19937 random(8);
  const std::vector<float> logits = random_logits(100, random);
  SamplingParams params = sampled();
  for (const double temperature : {1e-3, 1e-30, 1e-300}) {
    params.temperature = temperature;
    for (int64_t position = 0; position < 20; ++position) {
      EXPECT_EQ(sample(logits, params, {}, {}, position, 0)->id, sample(logits, {}, {}, {}, position, 0)->id);
    }
  }
}

TEST(Sampling, PenaltiesIgnoreIdsOutsideTheVocabulary) {
  const std::vector<float> logits{1, 2};
  SamplingParams params;
  params.repetition_penalty = 2;
  params.presence_penalty = 1;
  params.logit_bias = {{-1, 3.0F}, {9, 3.0F}};
  const std::vector<int32_t> odd{-5, 2, 1 << 30};
  const auto token = sample(logits, params, odd, odd, 0, 0);
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->id, 1);
}

TEST(Sampling, ValidateNamesTheParameter) {
  const auto message = [](auto change) {
    SamplingParams params = sampled();
    change(params);
    const Status status = validate(params, 10);
    return status.ok() ? std::string() : status.error().message;
  };
  EXPECT_EQ(message([](SamplingParams&) {}), "");
  EXPECT_THAT(message([](SamplingParams& p) { p.temperature = 0; }), testing::HasSubstr("`temperature`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.temperature = kNaN; }), testing::HasSubstr("`temperature`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.top_k = -1; }), testing::HasSubstr("`top_k`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.top_p = 0; }), testing::HasSubstr("`top_p`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.typical_p = 1.5; }), testing::HasSubstr("`typical_p`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.repetition_penalty = 0; }), testing::HasSubstr("`repetition_penalty`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.frequency_penalty = kNaN; }),
              testing::HasSubstr("`frequency_penalty`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.presence_penalty = kInf; }), testing::HasSubstr("`presence_penalty`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.logit_bias = {{10, 1.0F}}; }), testing::HasSubstr("`logit_bias`"));
  EXPECT_THAT(message([](SamplingParams& p) { p.logit_bias = {{1, kNaN}}; }), testing::HasSubstr("`logit_bias`"));
}

// Penalties by OpenAI's formula, everything else by transformers' own classes; prints the probabilities.
constexpr const char* kOracle = R"(
import json, sys
import torch
from transformers import (RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper,
                          TopPLogitsWarper, TypicalLogitsWarper)
answers = []
for case in json.load(open(sys.argv[1])):
    prompt, output = case["prompt"], case["output"]
    ids = torch.tensor([prompt + output])
    scores = torch.tensor([case["logits"]], dtype=torch.float32)
    scores = RepetitionPenaltyLogitsProcessor(case["repetition_penalty"])(ids, scores)
    counts = torch.bincount(torch.tensor(output, dtype=torch.long), minlength=scores.shape[1])
    scores = scores - counts * case["frequency_penalty"] - (counts > 0) * case["presence_penalty"]
    for token, bias in case["logit_bias"]:
        scores[0, token] += bias
    scores = TemperatureLogitsWarper(case["temperature"])(ids, scores)
    if case["top_k"] > 0:
        scores = TopKLogitsWarper(case["top_k"])(ids, scores)
    if case["top_p"] < 1:
        scores = TopPLogitsWarper(case["top_p"])(ids, scores)
    if case["typical_p"] < 1:
        scores = TypicalLogitsWarper(case["typical_p"])(ids, scores)
    answers.append(torch.softmax(scores.double(), -1)[0].tolist())
json.dump(answers, open(sys.argv[2], "w"))
)";

struct OracleCase {
  std::vector<float> logits;
  std::vector<int32_t> prompt, output;
  SamplingParams params;
};

template <class T>
T one_of(std::mt19937& random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

OracleCase random_case(std::mt19937& random) {
  OracleCase c;
  const size_t vocab = one_of<size_t>(random, {40, 300, 3000});
  c.logits = random_logits(vocab, random);
  for (int i = 0; i < 30; ++i) c.prompt.push_back(static_cast<int32_t>(random() % vocab));
  for (int i = 0; i < 30; ++i) c.output.push_back(static_cast<int32_t>(random() % std::min<size_t>(vocab, 60)));
  c.params = sampled();
  c.params.temperature = one_of(random, {0.2, 0.7, 1.0, 1.9});
  c.params.top_k = one_of(random, {0, 0, 1, 5, 50});
  c.params.top_p = one_of(random, {1.0, 0.1, 0.5, 0.95});
  c.params.typical_p = one_of(random, {1.0, 1.0, 0.2, 0.9});
  c.params.repetition_penalty = one_of(random, {1.0, 1.3, 0.8});
  c.params.frequency_penalty = one_of(random, {0.0, 0.5, -0.7});
  c.params.presence_penalty = one_of(random, {0.0, 1.2, -0.4});
  if (random() % 2 == 0) c.params.logit_bias = {{3, 2.5F}, {17, -100.0F}};
  return c;
}

nlohmann::json to_json(const OracleCase& c) {
  return {{"logits", c.logits},
          {"prompt", c.prompt},
          {"output", c.output},
          {"temperature", c.params.temperature},
          {"top_k", c.params.top_k},
          {"top_p", c.params.top_p},
          {"typical_p", c.params.typical_p},
          {"repetition_penalty", c.params.repetition_penalty},
          {"frequency_penalty", c.params.frequency_penalty},
          {"presence_penalty", c.params.presence_penalty},
          {"logit_bias", c.params.logit_bias}};
}

TEST(Sampling, DistributionEqualsTransformersProcessors) {
  std::mt19937 random(20240607);
  std::vector<OracleCase> cases;
  nlohmann::json questions = nlohmann::json::array();
  for (int i = 0; i < 120; ++i) {
    cases.push_back(random_case(random));
    questions.push_back(to_json(cases.back()));
  }
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "graft_sampling_oracle";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "cases.json") << questions;
  std::ofstream(folder / "oracle.py") << kOracle;
  const std::string command = std::string(GRAFT_PYTHON) + " " + (folder / "oracle.py").string() + " " +
                              (folder / "cases.json").string() + " " + (folder / "answers.json").string();
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const nlohmann::json answers = nlohmann::json::parse(std::ifstream(folder / "answers.json"));
  std::filesystem::remove_all(folder);

  for (size_t i = 0; i < cases.size(); ++i) {
    const OracleCase& c = cases[i];
    const auto distribution = sampling_distribution(c.logits, c.params, c.prompt, c.output);
    ASSERT_TRUE(distribution.ok());
    std::vector<double> mine(c.logits.size(), 0.0);
    for (const auto& [id, probability] : *distribution) mine[static_cast<size_t>(id)] = probability;
    const auto theirs = answers[i].get<std::vector<double>>();
    for (size_t id = 0; id < mine.size(); ++id) {
      EXPECT_NEAR(mine[id], theirs[id], 2e-6 + 1e-5 * theirs[id]) << questions[i].dump().substr(0, 200) << " id " << id;
      // What is filtered out is exactly zero on both sides; far tails may underflow differently.
      EXPECT_EQ(mine[id] < 1e-30, theirs[id] < 1e-30) << "case " << i << " id " << id;
    }
  }
}

}  // namespace
}  // namespace graft::runtime
