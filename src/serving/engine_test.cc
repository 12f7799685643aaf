#include "serving/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <thread>

#include "base/test_directory.h"
#include "serving/engine_test_support.h"

namespace graft::serving {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

struct EngineSetup {
  int32_t num_blocks = 64;
  int32_t block_size = 4;
  EngineLimits limits;
  std::vector<int32_t> eos{kFakeEos};
  std::function<void(FakeStepModel&)> prepare;

  [[nodiscard]] std::unique_ptr<Engine> make() const {
    auto model = std::make_unique<FakeStepModel>(num_blocks, block_size);
    if (prepare) prepare(*model);
    return Engine::create(std::move(model), byte_tokenizer(), eos, limits);
  }
};

GenerationResult must(Result<GenerationResult> result) {
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? std::move(result).value() : GenerationResult();
}

std::vector<int32_t> ids(const std::vector<GeneratedToken>& tokens) {
  std::vector<int32_t> result;
  for (const GeneratedToken& token : tokens) result.push_back(token.id);
  return result;
}

// What happens on other threads shows in the statistics a moment later.
void wait_until(const std::function<bool()>& condition) {
  for (int i = 0; i < 20000 && !condition(); ++i) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(condition());
}

TEST(Engine, GeneratesAsManyTokensAsAsked) {
  const auto engine = EngineSetup().make();
  const GenerationResult result = must(generate(*engine, request({1, 2, 3}, 7)));
  EXPECT_EQ(result.reason, FinishReason::kLength);
  EXPECT_EQ(result.tokens.size(), 7U);
  EXPECT_EQ(result.prompt_tokens, 3);
  EXPECT_TRUE(result.prefill.empty());
  std::string text;
  for (const GeneratedToken& token : result.tokens) text += token.text;
  EXPECT_EQ(result.text, text);
  EXPECT_EQ(result.text, byte_tokenizer()->decode(ids(result.tokens)));
  EXPECT_GT(result.inference.count(), 0);
  EXPECT_GE(result.time_to_first_token, result.queued);
}

TEST(Engine, SinkGetsEveryTokenInOrderThenTheResultOnce) {
  const auto engine = EngineSetup().make();
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine->submit(request({9}, 5), sink).ok());
  const GenerationResult result = must(sink->wait());
  EXPECT_EQ(ids(sink->tokens()), ids(result.tokens));
  EXPECT_EQ(sink->ends(), 1);
}

TEST(Engine, EndTokenEndsTheOutputUnlessIgnored) {
  EngineSetup setup;
  GenerationRequest asked = request({5, 6}, 40);
  const GenerationResult free_running = must(generate(*setup.make(), asked));
  const int32_t third = free_running.tokens[2].id;
  setup.eos = {kFakeEos, third};
  asked.ignore_eos = false;
  const GenerationResult result = must(generate(*setup.make(), asked));
  EXPECT_EQ(result.reason, FinishReason::kEos);
  EXPECT_EQ(result.tokens.back().id, third);
  EXPECT_LE(result.tokens.size(), 3U);
  asked.ignore_eos = true;
  EXPECT_EQ(must(generate(*setup.make(), asked)).tokens.size(), 40U);
}

TEST(Engine, SpecialTokensAreMarkedAndLeftOutOfTheText) {
  GenerationRequest asked = request({1}, 3);
  asked.sampling.logit_bias = {{kFakeEos, 100.0F}};
  const GenerationResult result = must(generate(*EngineSetup().make(), asked));
  EXPECT_EQ(ids(result.tokens), (std::vector<int32_t>{kFakeEos, kFakeEos, kFakeEos}));
  EXPECT_TRUE(result.tokens[0].special);
  EXPECT_EQ(result.text, "");
}

// A request whose output is the given text: every step forces the next byte.
class ForcedText {
 public:
  explicit ForcedText(std::string text) : text_(std::move(text)) {}
  GenerationResult run(std::vector<std::string> stops) const {
    auto model = std::make_unique<Script>(text_);
    const auto scripted = Engine::create(std::move(model), byte_tokenizer(), {kFakeEos}, {});
    GenerationRequest asked = request({'>'}, static_cast<int32_t>(text_.size()));
    asked.stop = std::move(stops);
    return must(generate(*scripted, asked));
  }

 private:
  class Script final : public runtime::StepModel {
   public:
    explicit Script(std::string text) : text_(std::move(text)) {}
    [[nodiscard]] const runtime::StepModelInfo& info() const override { return info_; }
    Result<std::span<const float>> step(std::span<const runtime::SequenceSlice> slices) override {
      logits_.assign(kFakeVocab, 0.0F);
      const auto next = static_cast<size_t>(slices[0].start) + slices[0].tokens.size() - 1;
      logits_[static_cast<unsigned char>(text_[next])] = 10;
      return std::span<const float>(logits_);
    }
    [[nodiscard]] Result<std::shared_ptr<const runtime::AdapterWeights>> load_adapter(
        const std::string& directory) const override {
      return not_found(directory);
    }

   private:
    std::string text_;
    runtime::StepModelInfo info_{kFakeVocab, 256, 32, 8};
    std::vector<float> logits_;
  };
  std::string text_;
};

TEST(Engine, StopSequenceEndsTheOutputAcrossTokens) {
  const ForcedText script("one two three");
  const GenerationResult kept = script.run({"two"});
  EXPECT_EQ(kept.reason, FinishReason::kStopSequence);
  EXPECT_EQ(kept.text, "one two");
  EXPECT_EQ(kept.tokens.size(), 7U);
  EXPECT_EQ(script.run({"four"}).text, "one two three");
  EXPECT_EQ(script.run({"three"}).reason, FinishReason::kStopSequence);  // with the last token allowed
}

TEST(Engine, StopSequenceOfSeveralBytesACharacter) {
  const ForcedText script("caf\xC3\xA9 \xE2\x82\xAC 5");
  EXPECT_EQ(script.run({"\xE2\x82\xAC"}).text, "caf\xC3\xA9 \xE2\x82\xAC");
  const GenerationResult whole = script.run({});
  EXPECT_EQ(whole.text, "caf\xC3\xA9 \xE2\x82\xAC 5");
  EXPECT_EQ(whole.tokens[3].text, "");  // half a character
  EXPECT_EQ(whole.tokens[4].text, "\xC3\xA9");
}

TEST(Engine, HalfACharacterAtTheEndComesOutWithTheLastToken) {
  EXPECT_EQ(ForcedText("ab\xE2\x82").run({}).text,
            byte_tokenizer()->decode(std::vector<int32_t>{'a', 'b', 0xE2, 0x82}));
}

TEST(Engine, PromptLogprobsBeginWithNaNAndDoNotDependOnChunks) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 50; ++i) prompt.push_back(i % 7);
  GenerationRequest asked = request(prompt, 2);
  asked.prompt_logprobs = true;
  EngineSetup setup;
  const GenerationResult whole = must(generate(*setup.make(), asked));
  setup.limits.max_step_tokens = 3;
  const GenerationResult chunked = must(generate(*setup.make(), asked));
  ASSERT_EQ(whole.prefill.size(), prompt.size());
  ASSERT_EQ(chunked.prefill.size(), prompt.size());
  EXPECT_TRUE(std::isnan(whole.prefill[0].logprob));
  for (size_t i = 1; i < prompt.size(); ++i) {
    EXPECT_EQ(whole.prefill[i].id, prompt[i]);
    EXPECT_EQ(whole.prefill[i].logprob, chunked.prefill[i].logprob);
    EXPECT_LT(whole.prefill[i].logprob, 0);
  }
  EXPECT_EQ(ids(whole.tokens), ids(chunked.tokens));
}

TEST(Engine, EveryPositionDrawsItsOwnRandomNumber) {
  // The same tokens in different requests, at the same positions, by the same seed: the same output; and no run of one
  // token, although the logits would allow it.
  GenerationRequest asked = request({1}, 30);
  asked.sampling.greedy = false;
  asked.sampling.seed = 3;
  asked.sampling.temperature = 1000;  // nearly uniform
  const auto engine = EngineSetup().make();
  const auto first = ids(must(generate(*engine, asked)).tokens);
  EXPECT_EQ(ids(must(generate(*engine, asked)).tokens), first);
  EXPECT_GT(std::set<int32_t>(first.begin(), first.end()).size(), 20U);
  asked.sampling.seed = 4;
  EXPECT_NE(ids(must(generate(*engine, asked)).tokens), first);
}

TEST(Engine, AlternativesComeBestFirst) {
  GenerationRequest asked = request({4}, 3);
  asked.num_alternatives = 4;
  const GenerationResult result = must(generate(*EngineSetup().make(), asked));
  for (const GeneratedToken& token : result.tokens) {
    ASSERT_EQ(token.alternatives.size(), 4U);
    EXPECT_EQ(token.alternatives[0].id, token.id);  // greedy
    EXPECT_GE(token.alternatives[0].logprob, token.alternatives[1].logprob);
  }
}

TEST(Engine, SecondRequestReusesThePrefixOfTheFirst) {
  const auto engine = EngineSetup().make();
  std::vector<int32_t> prompt(17, 3);
  EXPECT_EQ(must(generate(*engine, request(prompt, 2))).cached_tokens, 0);
  EXPECT_EQ(must(generate(*engine, request(prompt, 2))).cached_tokens, 16);
  GenerationRequest adapted = request(prompt, 2);
  adapted.adapter.id = "other";
  EXPECT_EQ(must(generate(*engine, adapted)).cached_tokens, 0);
  EXPECT_EQ(engine->stats().prefix_cached_tokens, 16U);
}

TEST(Engine, RefusesWhatCanNeverFitAndNamesIt) {
  EngineSetup setup;
  setup.num_blocks = 4;
  setup.limits.max_concurrent_requests = 2;
  const auto engine = setup.make();
  EXPECT_EQ(engine->limits().max_total_tokens, 16);
  const auto refusal = [&](GenerationRequest asked) {
    const auto result = generate(*engine, std::move(asked));
    if (result.ok()) return std::string("accepted");
    EXPECT_NE(result.error().kind, ErrorKind::kInternal);
    return result.error().message;
  };
  EXPECT_EQ(refusal(request({1}, 15)), "accepted");
  EXPECT_THAT(refusal(request({1, 2}, 15)), HasSubstr("must be <= 16. Given: 2 `inputs` tokens and 15"));
  EXPECT_THAT(refusal(request({}, 1)), HasSubstr("no tokens"));
  EXPECT_THAT(refusal(request({1}, 0)), HasSubstr("`max_new_tokens`"));
  EXPECT_THAT(refusal(request({1}, std::numeric_limits<int32_t>::max())), HasSubstr("`max_new_tokens`"));
  EXPECT_THAT(refusal(request({-1}, 1)), HasSubstr("token -1"));
  EXPECT_THAT(refusal(request({kFakeVocab}, 1)), HasSubstr("token 257"));
  GenerationRequest asked = request({1}, 1);
  asked.stop = {""};
  EXPECT_THAT(refusal(asked), HasSubstr("`stop`"));
  asked = request({1}, 1);
  asked.num_alternatives = -1;
  EXPECT_THAT(refusal(asked), HasSubstr("`return_k_alternatives`"));
  asked = request({1}, 1);
  asked.adapter = {"x", "hub", ""};
  EXPECT_THAT(refusal(asked), HasSubstr("`hub`"));
  asked = request({1}, 1);
  asked.sampling.top_p = 7;
  EXPECT_THAT(refusal(asked), HasSubstr("`top_p`"));
  EXPECT_FALSE(engine->submit(request({1}, 1), nullptr).ok());
}

TEST(Engine, RefusesMoreThanTheConcurrentRequests) {
  Gate gate;
  EngineSetup setup;
  setup.limits.max_concurrent_requests = 2;
  setup.prepare = [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      gate.pass();
      return Status();
    };
  };
  const auto engine = setup.make();
  auto first = std::make_shared<RecordingSink>();
  auto second = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine->submit(request({1}, 1), first).ok());
  ASSERT_TRUE(engine->submit(request({1}, 1), second).ok());
  const auto third = engine->submit(request({1}, 1), std::make_shared<RecordingSink>());
  ASSERT_FALSE(third.ok());
  EXPECT_EQ(third.error().kind, ErrorKind::kOverloaded);
  gate.open();
  must(first->wait());
  must(second->wait());
  must(generate(*engine, request({1}, 1)));
}

TEST(Engine, CancellingFreesTheBlocksInPrefillAndInDecode) {
  for (const bool in_prefill : {true, false}) {
    Gate gate;
    std::atomic<int> steps{0};
    EngineSetup setup;
    setup.limits.max_step_tokens = 4;
    setup.limits.prefix_caching = false;
    setup.prepare = [&](FakeStepModel& model) {
      model.before_step = [&](auto) {
        if (++steps == (in_prefill ? 2 : 6)) gate.pass();
        return Status();
      };
    };
    const auto engine = setup.make();
    auto sink = std::make_shared<RecordingSink>();
    const auto id = engine->submit(request(std::vector<int32_t>(12, 1), 100), sink);
    ASSERT_TRUE(id.ok());
    gate.wait_for_arrival();
    engine->cancel(*id);
    engine->cancel(*id + 1000);  // nobody
    gate.open();
    const auto result = sink->wait();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind, ErrorKind::kCancelled);
    EXPECT_EQ(sink->tokens().empty(), in_prefill);
    EXPECT_EQ(engine->stats().free_blocks, 64);
    EXPECT_EQ(engine->stats().running, 0);
    EXPECT_EQ(sink->ends(), 1);
  }
}

TEST(Engine, FailedStepFailsOnlyTheRequestsInIt) {
  for (const bool throws : {true, false}) {
    EngineSetup setup;
    setup.prepare = [&](FakeStepModel& model) {
      model.before_step = [throws](std::span<const runtime::SequenceSlice> slices) -> Status {
        for (const auto& slice : slices) {
          for (const int32_t token : slice.tokens) {
            if (token != 13) continue;
            if (throws) throw std::runtime_error("boom");
            return internal_error("boom");
          }
        }
        return {};
      };
    };
    const auto engine = setup.make();
    GenerationRequest clean = request({1, 2}, 3);
    clean.sampling.logit_bias = {{13, -100.0F}};
    const auto before = must(generate(*engine, clean));
    const auto failed = generate(*engine, request({12, 13}, 3));
    ASSERT_FALSE(failed.ok());
    EXPECT_THAT(failed.error().message, HasSubstr("boom"));
    EXPECT_EQ(ids(must(generate(*engine, clean)).tokens), ids(before.tokens));
    EXPECT_EQ(engine->stats().failed_steps, 1U);
    EXPECT_EQ(engine->stats().free_blocks, 64);
  }
}

TEST(Engine, WrongNumberOfLogitsIsAFailedStep) {
  class Short final : public runtime::StepModel {
   public:
    [[nodiscard]] const runtime::StepModelInfo& info() const override { return info_; }
    Result<std::span<const float>> step(std::span<const runtime::SequenceSlice> /*slices*/) override {
      return std::span<const float>(logits_);
    }
    [[nodiscard]] Result<std::shared_ptr<const runtime::AdapterWeights>> load_adapter(
        const std::string& directory) const override {
      return not_found(directory);
    }

   private:
    runtime::StepModelInfo info_{kFakeVocab, 64, 8, 8};
    std::vector<float> logits_ = std::vector<float>(10);
  };
  const auto engine = Engine::create(std::make_unique<Short>(), byte_tokenizer(), {}, {});
  EXPECT_THAT(generate(*engine, request({1}, 1)).error().message, HasSubstr("10 logits for 1 rows"));
}

TEST(Engine, LogitsThatAreNotFiniteFailOneRequestAndNotItsNeighbours) {
  class Poisoned final : public runtime::StepModel {
   public:
    [[nodiscard]] const runtime::StepModelInfo& info() const override { return info_; }
    Result<std::span<const float>> step(std::span<const runtime::SequenceSlice> slices) override {
      logits_.clear();
      for (const auto& slice : slices) {
        const bool poisoned = slice.adapter != nullptr;
        const size_t rows = slice.logits == runtime::LogitRows::kAll ? slice.tokens.size() : 1;
        logits_.insert(logits_.end(), kFakeVocab * rows, poisoned ? std::numeric_limits<float>::quiet_NaN() : 1.0F);
      }
      return std::span<const float>(logits_);
    }
    [[nodiscard]] Result<std::shared_ptr<const runtime::AdapterWeights>> load_adapter(
        const std::string& /*directory*/) const override {
      return std::shared_ptr<const runtime::AdapterWeights>(std::make_shared<FakeAdapter>(1));
    }

   private:
    runtime::StepModelInfo info_{kFakeVocab, 64, 64, 8};
    std::vector<float> logits_;
  };
  const auto engine = Engine::create(std::make_unique<Poisoned>(), byte_tokenizer(), {}, {});
  for (const bool prompt_logprobs : {false, true}) {
    auto healthy = std::make_shared<RecordingSink>();
    auto poisoned = std::make_shared<RecordingSink>();
    GenerationRequest asked = request({1, 2}, 20);
    asked.prompt_logprobs = prompt_logprobs;
    ASSERT_TRUE(engine->submit(asked, healthy).ok());
    asked.adapter.id = "poison";
    ASSERT_TRUE(engine->submit(asked, poisoned).ok());
    EXPECT_EQ(must(healthy->wait()).tokens.size(), 20U);
    EXPECT_THAT(poisoned->wait().error().message, HasSubstr("not finite"));
  }
}

TEST(Engine, SinkThatThrowsEndsItsOwnRequestOnly) {
  const auto engine = EngineSetup().make();
  auto broken = std::make_shared<RecordingSink>();
  broken->token_hook = [](const GeneratedToken&) { throw 42; };
  auto fine = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine->submit(request({1}, 10), broken).ok());
  ASSERT_TRUE(engine->submit(request({2}, 10), fine).ok());
  EXPECT_FALSE(broken->wait().ok());
  EXPECT_EQ(broken->tokens().size(), 1U);
  EXPECT_EQ(must(fine->wait()).tokens.size(), 10U);
}

TEST(Engine, SinkMaySubmitAndCancel) {
  const auto engine = EngineSetup().make();
  auto next = std::make_shared<RecordingSink>();
  auto first = std::make_shared<RecordingSink>();
  std::atomic<RequestId> id{0};
  first->token_hook = [&](const GeneratedToken&) {
    if (id == 0) id = *engine->submit(request({5}, 4), next);
  };
  next->token_hook = [&](const GeneratedToken&) { engine->cancel(id); };
  ASSERT_TRUE(engine->submit(request({4}, 4), first).ok());
  must(first->wait());
  EXPECT_EQ(next->wait().error().kind, ErrorKind::kCancelled);
}

TEST(Engine, LoadingAdapterHoldsUpNobodyElse) {
  Gate gate;
  EngineSetup setup;
  setup.prepare = [&](FakeStepModel& model) {
    model.loader = [&](const std::string&) -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
      gate.pass();
      return std::shared_ptr<const runtime::AdapterWeights>(std::make_shared<FakeAdapter>(5));
    };
  };
  const auto engine = setup.make();
  auto slow = std::make_shared<RecordingSink>();
  GenerationRequest asked = request({1}, 3);
  asked.adapter.id = "slow";
  ASSERT_TRUE(engine->submit(asked, slow).ok());
  gate.wait_for_arrival();
  must(generate(*engine, request({1}, 30)));
  EXPECT_TRUE(slow->tokens().empty());
  EXPECT_EQ(engine->stats().waiting, 1);
  gate.open();
  EXPECT_EQ(must(slow->wait()).tokens.size(), 3U);
  EXPECT_EQ(engine->stats().loaded_adapters, 1);
}

TEST(Engine, FailedLoadPassesItsErrorOn) {
  for (const bool throws : {true, false}) {
    EngineSetup setup;
    setup.prepare = [&](FakeStepModel& model) {
      model.loader = [throws](const std::string& path) -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
        if (throws) throw std::runtime_error("bad tensor");
        return not_found(path + ": bad tensor");
      };
    };
    const auto engine = setup.make();
    GenerationRequest asked = request({1}, 3);
    asked.adapter.id = "broken";
    const auto result = generate(*engine, asked);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind, throws ? ErrorKind::kInternal : ErrorKind::kNotFound);
    EXPECT_THAT(result.error().message, HasSubstr("bad tensor"));
    must(generate(*engine, request({1}, 3)));
  }
}

TEST(Engine, ChangedAdapterFilesAreLoadedAgain) {
  const TestDirectory directory;
  const auto engine = EngineSetup().make();
  GenerationRequest asked = request({1, 2, 3, 4, 5, 6, 7, 8, 9}, 5);
  asked.adapter.id = directory.path().string();
  const auto write = [&](const std::string& config) {
    std::ofstream(directory / "new") << config;
    std::filesystem::rename(directory / "new", directory / "adapter_config.json");
  };
  write("one");
  const auto first = ids(must(generate(*engine, asked)).tokens);
  EXPECT_EQ(ids(must(generate(*engine, asked)).tokens), first);
  write("two");
  const auto second = must(generate(*engine, asked));
  EXPECT_NE(ids(second.tokens), first);
  EXPECT_EQ(second.cached_tokens, 0);
  wait_until([&] { return engine->stats().loaded_adapters == 1; });
}

TEST(Engine, AdaptersInMemoryGoByTheirName) {
  const auto engine = EngineSetup().make();
  std::atomic<int> destroyed{0};
  GenerationRequest asked = request({1, 2}, 8);
  const auto base = ids(must(generate(*engine, asked)).tokens);
  engine->add_adapter("run", std::make_shared<FakeAdapter>(77, 1, [&] { ++destroyed; }));
  asked.adapter.id = "run";
  const auto first = ids(must(generate(*engine, asked)).tokens);
  EXPECT_NE(first, base);
  engine->add_adapter("run", std::make_shared<FakeAdapter>(78));
  EXPECT_EQ(destroyed, 1);
  EXPECT_NE(ids(must(generate(*engine, asked)).tokens), first);
  engine->add_adapter("run", nullptr);
  EXPECT_EQ(engine->stats().loaded_adapters, 0);
}

TEST(Engine, MoreAdaptersThanFitTakeTurns) {
  EngineSetup setup;
  setup.limits.max_active_adapters = 1;
  setup.limits.adapter_cycle = milliseconds(0);
  const auto engine = setup.make();
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 24; ++i) {
    GenerationRequest asked = request({i}, 4);
    asked.adapter.id = "adapter" + std::to_string(i % 3);
    sinks.push_back(std::make_shared<RecordingSink>());
    ASSERT_TRUE(engine->submit(asked, sinks.back()).ok());
  }
  for (const auto& sink : sinks) must(sink->wait());
  EXPECT_LE(engine->stats().loaded_adapters, 1);
}

TEST(Engine, TenantsShareNoCachedPrefix) {
  const auto engine = EngineSetup().make();
  GenerationRequest asked = request(std::vector<int32_t>(17, 3), 2);
  asked.tenant = "one";
  const GenerationResult first = must(generate(*engine, asked));
  EXPECT_EQ(must(generate(*engine, asked)).cached_tokens, 16);
  asked.tenant = "two";
  const GenerationResult second = must(generate(*engine, asked));
  EXPECT_EQ(second.cached_tokens, 0);
  EXPECT_EQ(ids(second.tokens), ids(first.tokens));
  asked.tenant = "";
  EXPECT_EQ(must(generate(*engine, asked)).cached_tokens, 0);
}

TEST(Engine, OneTenantCannotFillTheQueue) {
  Gate gate;
  EngineSetup setup;
  setup.limits.max_concurrent_requests = 4;
  setup.limits.max_tenant_share = 0.5;
  setup.prepare = [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      gate.pass();
      return Status();
    };
  };
  const auto engine = setup.make();
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  const auto submit = [&](const std::string& tenant) {
    GenerationRequest asked = request({1}, 1);
    asked.tenant = tenant;
    sinks.push_back(std::make_shared<RecordingSink>());
    return engine->submit(asked, sinks.back()).ok();
  };
  EXPECT_TRUE(submit("greedy"));
  EXPECT_TRUE(submit("greedy"));
  EXPECT_FALSE(submit("greedy"));
  EXPECT_TRUE(submit("modest"));
  EXPECT_EQ(engine->stats().refused, 1U);
  EXPECT_GE(engine->retry_after().count(), 1);
  gate.open();
  for (const size_t i : {0U, 1U, 3U}) must(sinks[i]->wait());
  EXPECT_TRUE(submit("greedy"));
}

TEST(Engine, ColdAdaptersDoNotWaitForAHotOnesQueue) {
  for (const Scheduling scheduling : {Scheduling::kFair, Scheduling::kFirstComeFirstServed}) {
    Gate gate;
    std::mutex mutex;
    std::vector<std::string> order;
    EngineSetup setup;
    setup.limits.max_running = 1;
    setup.limits.scheduling = scheduling;
    setup.prepare = [&](FakeStepModel& model) {
      model.before_step = [&](auto) {
        gate.pass();
        return Status();
      };
    };
    const auto engine = setup.make();
    for (const char* id : {"hot", "cold"}) engine->add_adapter(id, std::make_shared<FakeAdapter>(1));
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (const char* id : {"hot", "hot", "hot", "hot", "hot", "cold"}) {
      GenerationRequest asked = request({1, 2}, 4);
      asked.adapter.id = id;
      auto& sink = sinks.emplace_back(std::make_shared<RecordingSink>());
      sink->end_hook = [&, id] {
        const std::lock_guard lock(mutex);
        order.emplace_back(id);
      };
      ASSERT_TRUE(engine->submit(asked, sink).ok());
      if (sinks.size() == 1) gate.wait_for_arrival();  // the first one runs, the others come while it does
    }
    gate.open();
    for (const auto& sink : sinks) must(sink->wait());
    const auto place = std::ranges::find(order, "cold") - order.begin();
    EXPECT_EQ(place, scheduling == Scheduling::kFair ? 1 : 5);
  }
}

TEST(Engine, ADeadlineEndsARequestWithWhatItHas) {
  EngineSetup setup;
  setup.prepare = [](FakeStepModel& model) {
    model.before_step = [](auto) {
      std::this_thread::sleep_for(milliseconds(1));
      return Status();
    };
  };
  const auto engine = setup.make();
  GenerationRequest asked = request({1}, 200);
  asked.max_time = milliseconds(30);
  const GenerationResult result = must(generate(*engine, asked));
  EXPECT_EQ(result.reason, FinishReason::kDeadline);
  EXPECT_LT(result.tokens.size(), 200U);
  EXPECT_GE(result.inference + result.queued, milliseconds(30));
  EXPECT_EQ(engine->stats().deadlines, 1U);
  EXPECT_EQ(engine->stats().free_blocks, 64);
}

TEST(Engine, ADeadlineIsKeptWhileAnAdapterLoads) {
  Gate gate;
  EngineSetup setup;
  setup.limits.max_request_time = milliseconds(20);  // of all requests
  setup.prepare = [&](FakeStepModel& model) {
    model.loader = [&](const std::string&) -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
      gate.pass();
      return std::shared_ptr<const runtime::AdapterWeights>(std::make_shared<FakeAdapter>(5));
    };
  };
  const auto engine = setup.make();
  GenerationRequest asked = request({1}, 3);
  asked.adapter.id = "slow";
  asked.max_time = std::chrono::hours(1000);  // no way around the engine's limit
  const GenerationResult result = must(generate(*engine, asked));
  EXPECT_EQ(result.reason, FinishReason::kDeadline);
  EXPECT_TRUE(result.tokens.empty());
  EXPECT_EQ(result.inference.count(), 0);
  EXPECT_GE(result.queued, milliseconds(20));
  gate.open();
}

TEST(Engine, ACancelledRequestIsInNoFurtherStep) {
  Gate gate;
  std::atomic<bool> cancelled{false};
  std::atomic<int> late_steps{0};
  std::atomic<int> steps{0};
  EngineSetup setup;
  setup.prepare = [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      if (cancelled) ++late_steps;
      if (++steps == 5) gate.pass();
      return Status();
    };
  };
  const auto engine = setup.make();
  auto sink = std::make_shared<RecordingSink>();
  const auto id = engine->submit(request({1}, 200), sink);
  ASSERT_TRUE(id.ok());
  gate.wait_for_arrival();  // in the middle of a step
  engine->cancel(*id);
  cancelled = true;
  gate.open();
  EXPECT_FALSE(sink->wait().ok());
  EXPECT_EQ(late_steps, 0);
  EXPECT_EQ(sink->tokens().size(), 5U);
}

TEST(Engine, ResidentAdaptersAreReported) {
  EngineSetup setup;
  setup.limits.max_active_adapters = 2;
  const auto engine = setup.make();
  for (const char* id : {"a", "b", "c"}) {
    GenerationRequest asked = request({1}, 1);
    asked.adapter.id = id;
    must(generate(*engine, asked));
  }
  const EngineStats stats = engine->stats();
  ASSERT_NE(stats.residents, nullptr);
  ASSERT_EQ(stats.residents->size(), 2U);
  EXPECT_EQ(stats.residents->back().id, "c");
  EXPECT_EQ(stats.residents->back().bytes, 100);
  EXPECT_EQ(stats.adapter_loads, 3U);
  EXPECT_EQ(stats.adapter_evictions, 1U);
  EXPECT_EQ(stats.adapter_bytes, 200);
}

TEST(Engine, DestructorCancelsWhatRuns) {
  auto running = std::make_shared<RecordingSink>();
  auto loading = std::make_shared<RecordingSink>();
  EngineSetup setup;
  setup.prepare = [&](FakeStepModel& model) {
    model.before_step = [](auto) {
      std::this_thread::sleep_for(milliseconds(1));
      return Status();
    };
    model.loader = [](const std::string&) -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
      std::this_thread::sleep_for(milliseconds(20));
      return std::shared_ptr<const runtime::AdapterWeights>(std::make_shared<FakeAdapter>(5));
    };
  };
  {
    const auto engine = setup.make();
    ASSERT_TRUE(engine->submit(request({1}, 200), running).ok());
    GenerationRequest asked = request({1}, 200);
    asked.adapter.id = "slow";
    ASSERT_TRUE(engine->submit(asked, loading).ok());
    running->wait_for_tokens(2);
  }
  EXPECT_EQ(running->ends(), 1);
  EXPECT_EQ(loading->ends(), 1);
  EXPECT_EQ(running->wait().error().kind, ErrorKind::kCancelled);
  EXPECT_EQ(loading->wait().error().kind, ErrorKind::kCancelled);
}

TEST(Engine, StalledStepIsUnhealthyAndAnIdleEngineIsNot) {
  Gate gate;
  EngineSetup setup;
  setup.limits.stall_after = milliseconds(20);
  setup.prepare = [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      gate.pass();
      return Status();
    };
  };
  const auto engine = setup.make();
  std::this_thread::sleep_for(milliseconds(40));
  EXPECT_TRUE(engine->healthy());
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine->submit(request({1}, 1), sink).ok());
  gate.wait_for_arrival();
  wait_until([&] { return !engine->healthy(); });
  gate.open();
  must(sink->wait());
  wait_until([&] { return engine->healthy(); });
}

}  // namespace
}  // namespace graft::serving
