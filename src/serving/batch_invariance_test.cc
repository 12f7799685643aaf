// The engine's promise: a request's tokens and logprobs do not depend on its neighbours, nor on chunks, preemption, the
// prefix cache, adapters that come late or requests that are cancelled beside it. Random schedules on tiny pools,
// compared bit by bit with every request alone on a large one.
#include <gtest/gtest.h>

#include <bit>
#include <future>
#include <random>
#include <thread>

#include "serving/engine.h"
#include "serving/engine_test_support.h"

namespace graft::serving {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr int32_t kMaxTotal = 40;

int32_t between(std::mt19937& random, int32_t low, int32_t high) {
  return low + static_cast<int32_t>(random() % static_cast<uint32_t>(high - low + 1));
}
bool chance(std::mt19937& random, int32_t one_in) { return between(random, 1, one_in) == 1; }

GenerationRequest random_request(std::mt19937& random) {
  // Few different tokens and a few common beginnings, so that prefixes are shared.
  std::vector<int32_t> prompt;
  const int32_t beginning = between(random, 0, 2);
  const int32_t size = between(random, 1, 25);
  for (int32_t i = 0; i < size; ++i) prompt.push_back(i < 18 ? 'a' + beginning + i % 3 : between(random, 'a', 'c'));
  GenerationRequest made = request(std::move(prompt), between(random, 1, kMaxTotal - size));
  made.ignore_eos = chance(random, 3);
  made.prompt_logprobs = chance(random, 4);
  made.num_alternatives = chance(random, 4) ? 3 : 0;
  if (chance(random, 4)) made.stop = {std::string(1, static_cast<char>(between(random, 'a', 'z'))), "xy"};
  made.sampling.greedy = chance(random, 2);
  made.sampling.seed = random();
  made.sampling.temperature = 0.7;
  made.sampling.top_k = chance(random, 2) ? 20 : 0;
  made.sampling.top_p = chance(random, 2) ? 0.9 : 1.0;
  made.sampling.repetition_penalty = chance(random, 3) ? 1.2 : 1.0;
  made.sampling.frequency_penalty = chance(random, 3) ? 0.3 : 0.0;
  const int32_t adapter = between(random, 0, 5);
  if (adapter > 0) made.adapter.id = adapter == 5 ? "in-memory" : "adapter" + std::to_string(adapter);
  return made;
}

std::unique_ptr<Engine> engine_over(std::unique_ptr<FakeStepModel> model, const EngineLimits& limits) {
  auto engine = Engine::create(std::move(model), byte_tokenizer(), {kFakeEos, 'q'}, limits);
  engine->add_adapter("in-memory", std::make_shared<FakeAdapter>(4242));
  return engine;
}

// Every request by itself, with room for everything and nothing cached.
std::vector<GenerationResult> run_alone(const std::vector<GenerationRequest>& requests) {
  EngineLimits limits;
  limits.prefix_caching = false;
  const auto engine = engine_over(std::make_unique<FakeStepModel>(1000, 16), limits);
  std::vector<GenerationResult> results(requests.size());
  for (size_t i = requests.size(); i-- > 0;) {  // in another order, so that ids differ
    auto result = generate(*engine, requests[i]);
    EXPECT_TRUE(result.ok()) << result.error().message;
    results[i] = std::move(result).value();
  }
  return results;
}

void expect_equal(const runtime::TokenLogprob& a, const runtime::TokenLogprob& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(std::bit_cast<uint32_t>(a.logprob), std::bit_cast<uint32_t>(b.logprob));
}

void expect_equal(const GeneratedToken& a, const GeneratedToken& b) {
  expect_equal({a.id, a.logprob}, runtime::TokenLogprob{b.id, b.logprob});
  EXPECT_EQ(a.special, b.special);
  EXPECT_EQ(a.text, b.text);
  ASSERT_EQ(a.alternatives.size(), b.alternatives.size());
  for (size_t i = 0; i < a.alternatives.size(); ++i) expect_equal(a.alternatives[i], b.alternatives[i]);
}

void expect_equal(const GenerationResult& a, const GenerationResult& b) {
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.text, b.text);
  ASSERT_EQ(a.tokens.size(), b.tokens.size());
  for (size_t i = 0; i < a.tokens.size(); ++i) expect_equal(a.tokens[i], b.tokens[i]);
  ASSERT_EQ(a.prefill.size(), b.prefill.size());
  for (size_t i = 0; i < a.prefill.size(); ++i) expect_equal(a.prefill[i], b.prefill[i]);
}

struct Schedule {
  int32_t num_blocks = 0;
  int32_t block_size = 0;
  EngineLimits limits;
};

Schedule random_schedule(std::mt19937& random) {
  Schedule schedule;
  schedule.block_size = between(random, 1, 8);
  const int32_t just_enough = (kMaxTotal + schedule.block_size - 1) / schedule.block_size;
  schedule.num_blocks = just_enough + (chance(random, 2) ? 0 : between(random, 1, 2 * just_enough));
  schedule.limits.max_running = between(random, 1, 8);
  schedule.limits.max_step_tokens = between(random, 1, 40);
  schedule.limits.max_active_adapters = between(random, 1, 4);
  schedule.limits.adapter_cycle = milliseconds(0);
  schedule.limits.prefix_caching = !chance(random, 3);
  return schedule;
}

// What all trials together must have met, or the test would prove little.
struct Coverage {
  uint64_t preemptions = 0;
  uint64_t cached_tokens = 0;
  int cancelled = 0;
  int finished = 0;
};

void run_trial(uint32_t seed, Coverage& coverage) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<GenerationRequest> requests(static_cast<size_t>(between(random, 6, 16)));
  for (auto& each : requests) each = random_request(random);
  const std::vector<GenerationResult> alone = run_alone(requests);

  const Schedule schedule = random_schedule(random);
  auto model = std::make_unique<FakeStepModel>(schedule.num_blocks, schedule.block_size);
  const bool slow_loads = chance(random, 2);
  const FakeStepModel plain(1, 1);
  model->loader = [&plain, slow_loads](const std::string& path) {
    if (slow_loads) std::this_thread::sleep_for(microseconds(300));
    return plain.load_adapter(path);
  };
  const auto engine = engine_over(std::move(model), schedule.limits);

  std::vector<std::shared_ptr<RecordingSink>> sinks;
  std::vector<RequestId> ids(requests.size());
  std::vector<std::thread> cancellers;
  for (size_t i = 0; i < requests.size(); ++i) {
    sinks.push_back(std::make_shared<RecordingSink>());
    const auto id = engine->submit(requests[i], sinks[i]);
    ASSERT_TRUE(id.ok()) << id.error().message;
    ids[i] = *id;
    if (chance(random, 5)) {
      cancellers.emplace_back([&engine, sink = sinks[i], request_id = *id, after = between(random, 0, 8)] {
        sink->wait_for_tokens(static_cast<size_t>(after));
        engine->cancel(request_id);
      });
    }
    if (chance(random, 3)) std::this_thread::sleep_for(microseconds(between(random, 1, 200)));
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    const auto result = sinks[i]->wait();
    const auto streamed = sinks[i]->tokens();
    EXPECT_EQ(sinks[i]->ends(), 1);
    if (result.ok()) {
      ++coverage.finished;
      expect_equal(*result, alone[i]);
      ASSERT_EQ(streamed.size(), alone[i].tokens.size());
    } else {
      ++coverage.cancelled;
      ASSERT_EQ(result.error().kind, ErrorKind::kCancelled) << result.error().message;
      ASSERT_LE(streamed.size(), alone[i].tokens.size());
    }
    for (size_t t = 0; t < streamed.size(); ++t) expect_equal(streamed[t], alone[i].tokens[t]);
  }
  for (std::thread& thread : cancellers) thread.join();
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.failed_steps, 0U);
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_EQ(stats.free_blocks, schedule.num_blocks);
  EXPECT_LE(stats.loaded_adapters, schedule.limits.max_active_adapters);
  coverage.preemptions += stats.preemptions;
  coverage.cached_tokens += stats.prefix_cached_tokens;
}

void run_trials(uint32_t first, uint32_t count) {
  Coverage coverage;
  for (uint32_t seed = first; seed < first + count && !testing::Test::HasFailure(); ++seed) run_trial(seed, coverage);
  EXPECT_GT(coverage.preemptions, 0U);
  EXPECT_GT(coverage.cached_tokens, 0U);
  EXPECT_GT(coverage.cancelled, 0);
  EXPECT_GT(coverage.finished, static_cast<int>(count));
}

TEST(BatchInvariance, RandomSchedulesChangeNoBit) { run_trials(1, 60); }

TEST(BatchInvarianceSlow, ManyRandomSchedulesChangeNoBit) { run_trials(1000, 1500); }

// A model that takes its first step when all requests are there, so that they do meet in the pool.
class Gate {
 public:
  std::unique_ptr<FakeStepModel> model(int32_t num_blocks, int32_t block_size) {
    auto made = std::make_unique<FakeStepModel>(num_blocks, block_size);
    made->before_step = [open = opened_.get_future().share()](auto) {
      open.wait();
      return Status();
    };
    return made;
  }
  void open() { opened_.set_value(); }

 private:
  std::promise<void> opened_;
};

// Preempted again and again, the output is that of an undisturbed run.
TEST(BatchInvariance, PreemptionChangesNoBit) {
  std::vector<GenerationRequest> requests;
  for (int32_t i = 0; i < 6; ++i) {
    requests.push_back(request({'a', i}, 30));
    requests.back().sampling.greedy = i % 2 == 0;
    requests.back().sampling.seed = static_cast<uint64_t>(i);
    requests.back().prompt_logprobs = i % 3 == 0;
  }
  const auto alone = run_alone(requests);
  EngineLimits limits;
  limits.prefix_caching = false;
  Gate gate;
  const auto engine = engine_over(gate.model(20, 2), limits);
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const auto& each : requests) {
    sinks.push_back(std::make_shared<RecordingSink>());
    ASSERT_TRUE(engine->submit(each, sinks.back()).ok());
  }
  gate.open();
  for (size_t i = 0; i < sinks.size(); ++i) expect_equal(*sinks[i]->wait(), alone[i]);
  EXPECT_GT(engine->stats().preemptions, 2U);
}

// Preempted in the middle of a prompt, whose logprobs are then half known; the chunks differ the second time.
TEST(BatchInvariance, PreemptionInThePromptChangesNoLogprob) {
  uint64_t preemptions = 0;
  for (int32_t trial = 0; trial < 8; ++trial) {
    // The first one grows to the whole pool while the second one's prompt is read a token at a time, then alone by two.
    const int32_t pool = 23 + trial % 4;
    const int32_t first = 1 + trial / 4;
    std::vector<GenerationRequest> requests;
    for (int32_t i = 0; i < 3; ++i) {
      std::vector<int32_t> prompt(static_cast<size_t>(i == 0 ? first : 14), 'a' + i);
      requests.push_back(request(std::move(prompt), i == 0 ? pool - first : 4));
      requests.back().prompt_logprobs = true;
    }
    const auto alone = run_alone(requests);
    EngineLimits limits;
    limits.max_step_tokens = 2;
    Gate gate;
    const auto engine = engine_over(gate.model(pool, 1), limits);
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (const auto& each : requests) {
      sinks.push_back(std::make_shared<RecordingSink>());
      ASSERT_TRUE(engine->submit(each, sinks.back()).ok());
    }
    gate.open();
    for (size_t i = 0; i < sinks.size(); ++i) expect_equal(*sinks[i]->wait(), alone[i]);
    preemptions += engine->stats().preemptions;
  }
  EXPECT_GT(preemptions, 5U);
}

}  // namespace
}  // namespace graft::serving
