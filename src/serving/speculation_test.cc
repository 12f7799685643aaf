// Speculation in the engine: the same output as without, in fewer steps, whatever else happens.
#include "serving/speculation.h"

#include <gtest/gtest.h>

#include "serving/engine_test_support.h"

namespace graft::serving {
namespace {

struct EngineSetup {
  int32_t speculative_tokens = 0;
  int32_t num_blocks = 256;
  int32_t max_step_tokens = 64;
  int32_t max_running = 32;

  [[nodiscard]] std::unique_ptr<Engine> make() const {
    EngineLimits limits;
    limits.speculative_tokens = speculative_tokens;
    limits.max_step_tokens = max_step_tokens;
    limits.max_running = max_running;
    return Engine::create(std::make_unique<FakeStepModel>(num_blocks, 4), byte_tokenizer(), {kFakeEos}, limits);
  }
};

// Two tokens alternate by chance: runs of them come back all the time, and half of the guesses are wrong.
GenerationRequest coin_request(int32_t number) {
  GenerationRequest made = request({number, 7, 'a', 'b', 'a', 'a', 'b'}, 60);
  made.sampling.logit_bias = {{'a', 100.0F}, {'b', 100.0F}};
  made.sampling.greedy = number % 2 == 0;
  made.sampling.temperature = 4.0;
  made.sampling.seed = static_cast<uint64_t>(number);
  made.sampling.repetition_penalty = number % 3 == 0 ? 1.1 : 1.0;
  made.sampling.frequency_penalty = number % 5 == 0 ? 0.3 : 0.0;
  made.num_alternatives = number % 4;
  return made;
}

std::vector<GenerationResult> run(const EngineSetup& setup, const std::function<GenerationRequest(int32_t)>& make,
                                  int32_t n, EngineStats& stats) {
  const auto engine = setup.make();
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int32_t i = 0; i < n; ++i) {
    sinks.push_back(std::make_shared<RecordingSink>());
    EXPECT_TRUE(engine->submit(make(i), sinks.back()).ok());
  }
  std::vector<GenerationResult> results;
  for (const auto& sink : sinks) {
    Result<GenerationResult> result = sink->wait();
    EXPECT_TRUE(result.ok()) << result.error().message;
    results.push_back(result.ok() ? std::move(result).value() : GenerationResult());
  }
  stats = engine->stats();
  return results;
}

void expect_equal(const std::vector<GenerationResult>& got, const std::vector<GenerationResult>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].reason, want[i].reason) << i;
    EXPECT_EQ(got[i].text, want[i].text) << i;
    ASSERT_EQ(got[i].tokens.size(), want[i].tokens.size()) << i;
    for (size_t t = 0; t < got[i].tokens.size(); ++t) {
      ASSERT_EQ(got[i].tokens[t].id, want[i].tokens[t].id) << i << " token " << t;
      ASSERT_EQ(got[i].tokens[t].logprob, want[i].tokens[t].logprob) << i << " token " << t;
      ASSERT_EQ(got[i].tokens[t].alternatives.size(), want[i].tokens[t].alternatives.size());
    }
  }
}

TEST(Speculation, GivesTheSameTokensAndLogprobsInFewerSteps) {
  EngineStats without;
  EngineStats with;
  const auto plain = run({}, coin_request, 1, without);
  const auto guessed = run({.speculative_tokens = 8}, coin_request, 1, with);
  expect_equal(guessed, plain);
  EXPECT_GT(with.confirmed_tokens, 5U);
  EXPECT_LT(with.confirmed_tokens, with.drafted_tokens);  // or nothing was rejected here
  EXPECT_LT(with.steps + 5, without.steps);
  EXPECT_EQ(without.drafted_tokens, 0U);
}

TEST(Speculation, ChangesNobodysOutputInABatchThatIsPreempted) {
  EngineStats without;
  const auto plain = run({}, coin_request, 12, without);
  for (const EngineSetup setup :
       {EngineSetup{.speculative_tokens = 5}, EngineSetup{.speculative_tokens = 16, .num_blocks = 40},
        EngineSetup{.speculative_tokens = 3, .max_step_tokens = 12, .max_running = 12},
        EngineSetup{.speculative_tokens = 8, .num_blocks = 24, .max_step_tokens = 9, .max_running = 9}}) {
    EngineStats with;
    expect_equal(run(setup, coin_request, 12, with), plain);
    EXPECT_GT(with.confirmed_tokens, 0U);
    EXPECT_EQ(with.free_blocks, with.total_blocks);
  }
}

TEST(Speculation, StopsWhereTheOutputEndsAmongConfirmedGuesses) {
  const auto make = [](int32_t number) {
    GenerationRequest made = coin_request(number);
    made.stop = {"bab", "aaab"};
    return made;
  };
  EngineStats ignored;
  expect_equal(run({.speculative_tokens = 8}, make, 8, ignored), run({}, make, 8, ignored));
  const auto ends = [](int32_t number) {
    GenerationRequest made = coin_request(number);
    made.ignore_eos = false;
    made.sampling.logit_bias.emplace_back(kFakeEos, 97.0F);
    return made;
  };
  expect_equal(run({.speculative_tokens = 8}, ends, 8, ignored), run({}, ends, 8, ignored));
}

TEST(Speculation, RejectedGuessesNeverEnterThePrefixCache) {
  // The second run of the same prompts reads what the first one left in the cache.
  const auto engine = EngineSetup{.speculative_tokens = 16}.make();
  EngineStats ignored;
  const auto plain = run({}, coin_request, 4, ignored);
  for (int round = 0; round < 3; ++round) {
    std::vector<GenerationResult> results;
    for (int32_t i = 0; i < 4; ++i) {
      GenerationRequest longer = coin_request(i);
      if (round > 0) {  // with the output so far as its prompt
        for (size_t t = 0; t < 30; ++t) longer.prompt.push_back(plain[static_cast<size_t>(i)].tokens[t].id);
        longer.max_new_tokens = 30;
        longer.sampling.repetition_penalty = 1.0;
        longer.sampling.frequency_penalty = 0.0;
      }
      Result<GenerationResult> result = generate(*engine, longer);
      ASSERT_TRUE(result.ok());
      if (round == 0) continue;
      if (i % 3 == 0 || i % 5 == 0) continue;  // penalties read the prompt differently
      for (size_t t = 0; t < 30; ++t) {
        ASSERT_EQ(result->tokens[t].id, plain[static_cast<size_t>(i)].tokens[t + 30].id) << i << " token " << t;
      }
    }
  }
  EXPECT_GT(engine->stats().prefix_cached_tokens, 0U);
}

TEST(Speculation, TrustGrowsWithSuccessAndFallsToWhatWasRight) {
  Speculation speculation(16);
  const std::vector<int32_t> loop = {1, 2, 3, 1, 2, 3, 1, 2, 3};
  EXPECT_EQ(speculation.propose(loop, 100).size(), 4U);
  speculation.learn(4, 4);
  EXPECT_EQ(speculation.propose(loop, 100).size(), 8U);
  speculation.learn(8, 3);
  EXPECT_EQ(speculation.propose(loop, 100).size(), 3U);
  speculation.learn(3, 0);
  EXPECT_EQ(speculation.propose(loop, 100).size(), 1U);
  EXPECT_EQ(speculation.propose(loop, 0).size(), 0U);
}

}  // namespace
}  // namespace graft::serving
