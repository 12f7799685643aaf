#include "serving/fair_queueing.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace graft::serving {
namespace {

// Sequences by name: "t1a2" is of tenant 1 and adapter 2.
struct World {
  Sequence& add(uint64_t tenant, uint64_t flow, int32_t prompt = 10, double weight = 1) {
    auto& sequence = *sequences.emplace_back(std::make_unique<Sequence>());
    sequence.arrival = sequences.size();
    sequence.tenant = tenant;
    sequence.flow = flow;
    sequence.weight = weight;
    sequence.prompt_size = prompt;
    policy.add(sequence);
    return sequence;
  }

  // Starts whoever is next, and serves it so many tokens.
  std::string serve_next(int32_t output_tokens = 0) {
    Sequence* sequence = policy.next();
    if (sequence == nullptr) return "";
    policy.start(*sequence);
    if (output_tokens > 0) policy.serve(*sequence, output_tokens);
    policy.finish(*sequence);
    return "t" + std::to_string(sequence->tenant) + "a" + std::to_string(sequence->flow);
  }

  std::string serve(int count, int32_t output_tokens = 0) {
    std::string order;
    for (int i = 0; i < count; ++i) order += (i == 0 ? "" : " ") + serve_next(output_tokens);
    return order;
  }

  FairQueueing policy;
  std::vector<std::unique_ptr<Sequence>> sequences;
};

TEST(FairQueueing, AHotAdapterWaitsForColdOnes) {
  World world;
  for (int i = 0; i < 4; ++i) world.add(0, 1);
  world.add(0, 2);
  world.add(0, 3);
  EXPECT_EQ(world.serve(6), "t0a1 t0a2 t0a3 t0a1 t0a1 t0a1");
  EXPECT_EQ(world.policy.next(), nullptr);
}

TEST(FairQueueing, OneAdapterIsServedInOrderOfArrival) {
  World world;
  Sequence& first = world.add(0, 1);
  Sequence& second = world.add(0, 1);
  EXPECT_EQ(world.policy.next(), &first);
  EXPECT_TRUE(world.policy.remove(first));
  EXPECT_FALSE(world.policy.remove(first));
  EXPECT_EQ(world.policy.next(), &second);
  world.policy.add(first);  // back in its place
  EXPECT_EQ(world.policy.next(), &first);
  EXPECT_EQ(world.policy.waiting(), 2);
}

TEST(FairQueueing, ATenantWithManyAdaptersGetsNoMoreThanOneWithOne) {
  World world;
  for (uint64_t adapter = 0; adapter < 6; ++adapter) world.add(1, adapter);
  for (int i = 0; i < 3; ++i) world.add(2, 0);
  EXPECT_EQ(world.serve(9), "t1a0 t2a0 t1a1 t2a0 t1a2 t2a0 t1a3 t1a4 t1a5");
}

TEST(FairQueueing, WeightsDivideTheMachine) {
  World world;
  int heavy = 0;
  for (int i = 0; i < 60; ++i) world.add(1, 0, 10, 3);
  for (int i = 0; i < 60; ++i) world.add(2, 0, 10, 1);
  for (int i = 0; i < 40; ++i) heavy += world.serve_next().starts_with("t1") ? 1 : 0;
  EXPECT_NEAR(heavy, 30, 1);
}

TEST(FairQueueing, LongOutputsCostMoreThanShortOnes) {
  World world;
  for (int i = 0; i < 20; ++i) world.add(0, 1);
  for (int i = 0; i < 20; ++i) world.add(0, 2);
  int of_short = 0;
  for (int i = 0; i < 16; ++i) {
    const bool is_short = world.policy.next()->flow == 1;
    of_short += is_short ? 1 : 0;
    world.serve_next(is_short ? 5 : 25);  // 20 against 60
  }
  EXPECT_EQ(of_short, 12);
}

TEST(FairQueueing, APauseEarnsNoCredit) {
  World world;
  for (int i = 0; i < 100; ++i) world.add(0, 1);
  world.serve(50);
  for (int i = 0; i < 10; ++i) world.add(0, 2);  // it was silent until now
  EXPECT_EQ(world.serve(4), "t0a1 t0a2 t0a1 t0a2");
}

TEST(FairQueueing, WhatWasUsedIsNotForgottenInAPause) {
  World world;
  world.add(0, 1, 1000);
  world.add(0, 2);
  EXPECT_EQ(world.serve(2), "t0a1 t0a2");
  for (int i = 0; i < 3; ++i) world.add(0, 2);
  world.add(0, 1);  // it has had 1000 already
  EXPECT_EQ(world.serve(4), "t0a2 t0a2 t0a2 t0a1");
}

TEST(FairQueueing, ANewcomerNeverPassesTheOneThatIsHeldUp) {
  World world;
  world.add(0, 1);
  world.add(0, 2);
  world.serve(1);
  const Sequence* held = world.policy.next();
  for (uint64_t flow = 10; flow < 20; ++flow) {
    world.add(0, flow);
    world.add(flow, flow);
    EXPECT_EQ(world.policy.next(), held);
  }
}

TEST(FairQueueing, WithdrawTakesThemInOrderOfArrival) {
  World world;
  for (uint64_t i = 0; i < 12; ++i) world.add(i % 2, i % 3);
  const auto withdrawn = world.policy.withdraw([](const Sequence& sequence) { return sequence.flow == 1; });
  ASSERT_EQ(withdrawn.size(), 4U);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(withdrawn[i]->arrival, 3 * i + 2);
  EXPECT_EQ(world.policy.waiting(), 8);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(world.serve_next().find("a1"), std::string::npos);
}

TEST(FairQueueing, IdleFlowsAreForgotten) {
  World world;
  for (uint64_t i = 0; i < 5000; ++i) {
    world.add(i % 7, i);
    world.serve_next(3);
  }
  EXPECT_LT(world.policy.flows(), 500U);
}

}  // namespace
}  // namespace graft::serving
