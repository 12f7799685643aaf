#include "serving/scheduler.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>

namespace graft::serving {
namespace {

using runtime::LogitRows;

// A scheduler whose steps always succeed; `step` appends a token to every sequence that got logits for it.
struct World {
  World(StepLimits limits, int32_t num_blocks, int32_t block_size, bool cache = false)
      : pool(num_blocks, block_size, cache), scheduler(limits, policy, pool) {}

  Sequence& add(int32_t prompt, bool prompt_logprobs = false) {
    auto& sequence = *sequences.emplace_back(std::make_unique<Sequence>());
    sequence.arrival = sequences.size();
    sequence.tokens.resize(static_cast<size_t>(prompt));
    std::iota(sequence.tokens.begin(), sequence.tokens.end(), 0);
    sequence.prompt_size = prompt;
    sequence.wants_prompt_logprobs = prompt_logprobs;
    scheduler.add(sequence);
    return sequence;
  }

  // Who got how many tokens, as "1:4 2:1".
  std::string step() {
    std::string description;
    const auto planned = scheduler.plan();
    const std::vector<PlannedSlice> plan(planned.begin(), planned.end());
    for (const PlannedSlice& slice : plan) {
      description += (description.empty() ? "" : " ") + std::to_string(slice.sequence->arrival) + ":" +
                     std::to_string(slice.count);
      if (slice.logits == LogitRows::kAll) description += "all";
      if (slice.logits == LogitRows::kLast) description += "last";
      EXPECT_GE(slice.sequence->blocks.size() * pool.block_size(), slice.sequence->computed + slice.count);
      scheduler.commit(slice);
      if (slice.logits == LogitRows::kAll) slice.sequence->prompt_logprobs = slice.sequence->computed + 1;
      if (slice.sequence->pending() == 0) slice.sequence->tokens.push_back(1000);
    }
    return description;
  }

  FirstComeFirstServed policy;
  runtime::BlockPool pool;
  Scheduler scheduler;
  std::vector<std::unique_ptr<Sequence>> sequences;
};

TEST(Scheduler, PlansNothingWhenThereIsNothing) {
  World world({4, 8, 8}, 4, 4);
  EXPECT_TRUE(world.scheduler.idle());
  EXPECT_EQ(world.step(), "");
}

TEST(Scheduler, CutsPromptsIntoChunksAndPutsDecodesFirst) {
  World world({4, 8, 8}, 100, 4);
  world.add(3);
  EXPECT_EQ(world.step(), "1:3last");
  world.add(20);
  EXPECT_EQ(world.step(), "1:1last 2:7");
  EXPECT_EQ(world.step(), "1:1last 2:7");
  EXPECT_EQ(world.step(), "1:1last 2:6last");
  EXPECT_EQ(world.step(), "1:1last 2:1last");
}

TEST(Scheduler, SharesTheTokenBudgetInOrderOfArrival) {
  World world({4, 10, 8}, 100, 4);
  world.add(6);
  world.add(6);
  world.add(6);
  EXPECT_EQ(world.step(), "1:6last 2:4");
  EXPECT_EQ(world.step(), "1:1last 2:2last 3:6last");
}

TEST(Scheduler, RunsNoMoreSequencesThanAllowed) {
  World world({2, 100, 8}, 100, 4);
  for (int i = 0; i < 3; ++i) world.add(2);
  EXPECT_EQ(world.step(), "1:2last 2:2last");
  EXPECT_EQ(world.scheduler.waiting(), 1);
  world.scheduler.remove(*world.sequences[0]);
  EXPECT_EQ(world.step(), "2:1last 3:2last");
}

TEST(Scheduler, EveryRunningSequenceFindsAPlaceForItsDecode) {
  World world({100, 3, 8}, 100, 4);
  for (int i = 0; i < 5; ++i) world.add(1);
  EXPECT_EQ(world.step(), "1:1last 2:1last 3:1last");
  EXPECT_EQ(world.step(), "1:1last 2:1last 3:1last");
}

TEST(Scheduler, PreemptsTheNewestWhenBlocksRunOut) {
  World world({4, 100, 8}, 5, 2);
  world.add(2);
  world.add(2);
  EXPECT_EQ(world.step(), "1:2last 2:2last");
  EXPECT_EQ(world.step(), "1:1last 2:1last");  // two blocks each
  EXPECT_EQ(world.step(), "1:1last 2:1last");
  EXPECT_EQ(world.step(), "1:1last");  // the fifth block went to 1; 2 needed a third one
  EXPECT_EQ(world.scheduler.preemptions(), 1U);
  EXPECT_EQ(world.scheduler.waiting(), 1);
  EXPECT_EQ(world.sequences[1]->computed, 0);
  EXPECT_EQ(world.sequences[1]->blocks.size(), 0);
  world.scheduler.remove(*world.sequences[0]);
  EXPECT_EQ(world.step(), "2:5last");  // prompt and output are computed again
}

TEST(Scheduler, FirstOneRunsToTheEndOfThePool) {
  World world({8, 100, 8}, 8, 2);
  for (int i = 0; i < 6; ++i) world.add(2);
  while (world.sequences[0]->size() < 16) {
    ASSERT_FALSE(world.step().empty());
    ASSERT_EQ(world.sequences[0]->pending(), 1);
  }
  EXPECT_EQ(world.step(), "1:1last");
  EXPECT_EQ(world.sequences[0]->blocks.size(), 8);
}

TEST(Scheduler, WhoDoesNotFitHoldsUpThoseBehind) {
  World world({8, 100, 8}, 6, 2);
  world.add(6);
  world.add(10);
  world.add(1);
  EXPECT_EQ(world.step(), "1:6last");
  EXPECT_EQ(world.step(), "1:1last");
  world.scheduler.remove(*world.sequences[0]);
  EXPECT_EQ(world.step(), "2:10last");
}

TEST(Scheduler, NewcomersLeaveASpareBlockForEachRunningSequence) {
  World world({8, 100, 8}, 4, 2);
  world.add(4);
  world.add(4);
  EXPECT_EQ(world.step(), "1:4last");
  EXPECT_EQ(world.scheduler.waiting(), 1);
}

TEST(Scheduler, PromptLogprobsComeInChunksOfBoundedRows) {
  World world({8, 100, 4}, 100, 2);
  world.add(10, true);
  world.add(3);
  EXPECT_EQ(world.step(), "1:4all 2:3last");
  EXPECT_EQ(world.step(), "2:1last 1:4all");
  EXPECT_EQ(world.step(), "2:1last 1:2all");
  EXPECT_EQ(world.step(), "1:1last 2:1last");
}

TEST(Scheduler, KnownPromptLogprobsAreNotAskedForAgain) {
  World world({8, 100, 4}, 100, 2);
  Sequence& sequence = world.add(6, true);
  EXPECT_EQ(world.step(), "1:4all");
  sequence.computed = 0;  // as after a preemption
  EXPECT_EQ(world.step(), "1:4");
  EXPECT_EQ(world.step(), "1:2all");
}

TEST(Scheduler, EqualBeginningsAreComputedOnce) {
  World world({8, 100, 8}, 100, 4, true);
  world.add(10);
  EXPECT_EQ(world.step(), "1:10last");
  world.add(10);
  world.add(8);
  EXPECT_EQ(world.step(), "1:1last 2:2last 3:4last");  // the last token is always computed
  EXPECT_EQ(world.sequences[1]->cached_tokens, 8);
  EXPECT_EQ(world.sequences[2]->cached_tokens, 4);
  EXPECT_EQ(world.sequences[1]->blocks.ids()[1], world.sequences[0]->blocks.ids()[1]);
}

TEST(Scheduler, PromptLogprobsAreNeverTakenFromTheCache) {
  World world({8, 100, 100}, 100, 4, true);
  world.add(10);
  world.step();
  world.add(10, true);
  EXPECT_EQ(world.step(), "1:1last 2:10all");
  EXPECT_EQ(world.sequences[1]->cached_tokens, 0);
}

TEST(Scheduler, OutputIsCachedToo) {
  World world({8, 100, 8}, 100, 2, true);
  Sequence& first = world.add(3);
  for (int i = 0; i < 4; ++i) world.step();
  Sequence& second = world.add(1);
  world.scheduler.remove(second);
  second.tokens = first.tokens;
  second.prompt_size = second.size();
  world.scheduler.add(second);
  world.step();
  EXPECT_EQ(second.cached_tokens, 6);
}

TEST(Scheduler, WithdrawTakesOnlyWhatHasNotStarted) {
  World world({1, 100, 8}, 100, 2);
  for (int i = 0; i < 4; ++i) world.add(2);
  world.step();
  const auto withdrawn = world.scheduler.withdraw([](const Sequence& sequence) { return sequence.arrival != 3; });
  ASSERT_EQ(withdrawn.size(), 2U);
  EXPECT_EQ(withdrawn[0]->arrival, 2U);
  EXPECT_EQ(withdrawn[1]->arrival, 4U);
  EXPECT_EQ(world.scheduler.running(), 1);
  EXPECT_EQ(world.scheduler.waiting(), 1);
}

TEST(Scheduler, RemovedSequencesGiveTheirBlocksBack) {
  World world({8, 3, 8}, 10, 2);
  world.add(8);
  world.step();
  EXPECT_EQ(world.pool.available(), 6);
  world.scheduler.remove(*world.sequences[0]);  // in the middle of its prefill
  EXPECT_EQ(world.pool.available(), 10);
  EXPECT_TRUE(world.scheduler.idle());
}

}  // namespace
}  // namespace graft::serving
