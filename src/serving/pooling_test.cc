// Hidden states instead of tokens: what a request gets does not depend on its neighbours, on chunks, preemption or the
// prefix cache.
#include <gtest/gtest.h>

#include <random>

#include "serving/engine.h"
#include "serving/engine_test_support.h"

namespace graft::serving {
namespace {

constexpr int32_t kMaxTotal = 40;

GenerationRequest pooled(std::vector<int32_t> prompt, Pooling pooling, const std::string& adapter = {}) {
  GenerationRequest made;
  made.prompt = std::move(prompt);
  made.pooling = pooling;
  made.logprobs = false;
  made.adapter.id = adapter;
  return made;
}

std::shared_ptr<FakeAdapter> classifier(runtime::ClassificationHead::Kind kind) {
  auto adapter = std::make_shared<FakeAdapter>(7);
  adapter->has_head = true;
  adapter->classifier.kind = kind;
  adapter->classifier.labels = {"yes", "no", "perhaps"};
  for (int64_t i = 0; i < 3 * kFakeHidden; ++i) {
    adapter->classifier.weight.push_back(static_cast<float>(i * 7919 % 13) - 6.0F);
  }
  adapter->classifier.bias = {0.5F, -0.25F, 0.0F};
  return adapter;
}

std::unique_ptr<Engine> engine_over(std::unique_ptr<FakeStepModel> model, const EngineLimits& limits) {
  auto engine = Engine::create(std::move(model), byte_tokenizer(), {kFakeEos}, limits);
  engine->add_adapter("sequence", classifier(runtime::ClassificationHead::Kind::kSequence));
  engine->add_adapter("token", classifier(runtime::ClassificationHead::Kind::kToken));
  return engine;
}

GenerationRequest random_request(std::mt19937& random) {
  std::vector<int32_t> prompt;
  const auto size = 1 + random() % 30;
  for (size_t i = 0; i < size; ++i) prompt.push_back(i < 12 ? static_cast<int32_t>('a' + i % 3) : 'a' + random() % 3);
  switch (random() % 5) {
    case 0:
      return pooled(std::move(prompt), Pooling::kMean, random() % 2 == 0 ? "" : "sequence");
    case 1:
      return pooled(std::move(prompt), Pooling::kLast);
    case 2:
      return pooled(std::move(prompt), Pooling::kClassify, "sequence");
    case 3:
      return pooled(std::move(prompt), Pooling::kClassify, "token");
    default: {
      GenerationRequest made = request(std::move(prompt), 1 + static_cast<int32_t>(random() % 10));
      made.prompt_logprobs = random() % 2 == 0;
      return made;
    }
  }
}

TEST(Pooling, RandomMixesOnATinyPoolEqualEachRequestAlone) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    std::vector<GenerationRequest> requests;
    for (int i = 0; i < 24; ++i) requests.push_back(random_request(random));
    EngineLimits alone_limits;
    alone_limits.prefix_caching = false;
    const auto alone = engine_over(std::make_unique<FakeStepModel>(1000, 16), alone_limits);
    EngineLimits tight;
    tight.max_step_tokens = 1 + static_cast<int32_t>(random() % 9);
    tight.max_running = 8;
    const auto busy =
        engine_over(std::make_unique<FakeStepModel>(kMaxTotal / 4 + static_cast<int32_t>(random() % 12), 4), tight);
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (const GenerationRequest& one : requests) {
      sinks.push_back(std::make_shared<RecordingSink>());
      ASSERT_TRUE(busy->submit(one, sinks.back()).ok());
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      const auto got = sinks[i]->wait();
      const auto expected = generate(*alone, requests[i]);
      ASSERT_TRUE(got.ok() && expected.ok()) << seed << " " << i;
      EXPECT_EQ(got->pooled, expected->pooled) << seed << " " << i;
      EXPECT_EQ(got->tokens.size(), expected->tokens.size());
      EXPECT_EQ(got->pooled.empty(), requests[i].pooling == Pooling::kNone);
      EXPECT_EQ(got->head == nullptr, requests[i].pooling != Pooling::kClassify);
    }
  }
}

TEST(Pooling, ShapesAreThoseOfTheKind) {
  const auto engine = engine_over(std::make_unique<FakeStepModel>(64, 4), {});
  const std::vector<int32_t> prompt = {'a', 'b', 'c', 'd', 'e'};
  EXPECT_EQ(generate(*engine, pooled(prompt, Pooling::kMean))->pooled.size(), static_cast<size_t>(kFakeHidden));
  EXPECT_EQ(generate(*engine, pooled(prompt, Pooling::kLast))->pooled.size(), static_cast<size_t>(kFakeHidden));
  EXPECT_EQ(generate(*engine, pooled(prompt, Pooling::kClassify, "sequence"))->pooled.size(), 3U);
  EXPECT_EQ(generate(*engine, pooled(prompt, Pooling::kClassify, "token"))->pooled.size(), 15U);
}

TEST(Pooling, TheLastTokensStateMayUseACachedPrefixAndTheMeanMayNot) {
  const auto engine = engine_over(std::make_unique<FakeStepModel>(64, 4), {});
  const std::vector<int32_t> prompt(9, 'x');
  const auto first = generate(*engine, pooled(prompt, Pooling::kLast));
  const auto again = generate(*engine, pooled(prompt, Pooling::kLast));
  EXPECT_EQ(again->cached_tokens, 8);
  EXPECT_EQ(again->pooled, first->pooled);
  EXPECT_EQ(generate(*engine, pooled(prompt, Pooling::kMean))->cached_tokens, 0);
}

TEST(Pooling, ClassifyingNeedsAnAdapterWithAHead) {
  const auto engine = engine_over(std::make_unique<FakeStepModel>(64, 4), {});
  engine->add_adapter("plain", std::make_shared<FakeAdapter>(1));
  for (const char* adapter : {"", "plain"}) {
    const auto got = generate(*engine, pooled({1, 2}, Pooling::kClassify, adapter));
    ASSERT_FALSE(got.ok());
    EXPECT_NE(got.error().message.find("no classification head"), std::string::npos);
  }
  GenerationRequest wrong = pooled({1, 2}, Pooling::kMean);
  wrong.max_new_tokens = 3;
  EXPECT_FALSE(generate(*engine, wrong).ok());
}

TEST(Pooling, APromptAsLongAsTheCacheIsPooledWhole) {
  const auto engine = engine_over(std::make_unique<FakeStepModel>(4, 4), {});
  EXPECT_TRUE(generate(*engine, pooled(std::vector<int32_t>(16, 'a'), Pooling::kMean)).ok());
  EXPECT_FALSE(generate(*engine, pooled(std::vector<int32_t>(17, 'a'), Pooling::kMean)).ok());
}

}  // namespace
}  // namespace graft::serving
