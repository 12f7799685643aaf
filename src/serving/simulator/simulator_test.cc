#include "serving/simulator/simulator.h"

#include <gtest/gtest.h>

namespace graft::serving::simulator {
namespace {

// A small day whose afternoon asks for more than the machine can do.
WorkloadConfig busy_day() {
  WorkloadConfig workload;
  workload.adapters = 2000;
  workload.tenants = 50;
  workload.requests_per_second = 260;
  workload.mean_prompt = 64;
  workload.shared_prefix = 32;
  workload.mean_output = 16;
  return workload;
}

MachineConfig small_machine(Scheduling scheduling) {
  MachineConfig machine;
  machine.cost = {500, 20, 60, 10};
  machine.max_concurrent = 512;
  machine.max_running = 32;
  machine.max_step_tokens = 256;
  machine.num_blocks = 4096;
  machine.max_active_adapters = 200;
  machine.scheduling = scheduling;
  return machine;
}

TEST(Simulator, TheSameSeedGivesTheSameDay) {
  const MachineConfig machine = small_machine(Scheduling::kFair);
  const Day first = simulate_day(machine, busy_day(), 0.5, 7);
  const Day again = simulate_day(machine, busy_day(), 0.5, 7);
  EXPECT_EQ(first.total, again.total);
  EXPECT_EQ(first.hours, again.hours);
  EXPECT_NE(first.total, simulate_day(machine, busy_day(), 0.5, 8).total);
}

TEST(Simulator, FairSchedulingKeepsColdAdaptersResponsiveAtTheSameThroughput) {
  const Day fcfs = simulate_day(small_machine(Scheduling::kFirstComeFirstServed), busy_day(), 1, 3);
  const Day fair = simulate_day(small_machine(Scheduling::kFair), busy_day(), 1, 3);
  const auto& cold_fcfs = fcfs.total.groups[2].first_token_ms;
  const auto& cold_fair = fair.total.groups[2].first_token_ms;
  EXPECT_GT(fcfs.total.busy, 0.8);
  EXPECT_LT(cold_fair.p50, 0.5 * cold_fcfs.p50);
  EXPECT_LT(cold_fair.p99, cold_fcfs.p99);
  EXPECT_GT(fair.total.completed, 0.97 * fcfs.total.completed);
}

TEST(Simulator, EveryRequestIsAnsweredRefusedOrStillThere) {
  const Day day = simulate_day(small_machine(Scheduling::kFair), busy_day(), 0.5, 1);
  int64_t asked = 0;
  int64_t gone = 0;
  for (const GroupReport& group : day.total.groups) {
    asked += group.asked;
    gone += group.refused + group.completed;
  }
  EXPECT_GT(asked, 1000);
  EXPECT_LE(gone, asked);
  EXPECT_LE(asked - gone, 512);  // max_concurrent
  EXPECT_EQ(day.hours.size(), 24U);
  EXPECT_GT(day.total.cached, 0.1);
  EXPECT_GT(day.total.loads, 100);
  EXPECT_GE(day.total.loads, day.total.evictions);
}

TEST(Simulator, ALightDayIsServedAtOnceUnderBothPolicies) {
  WorkloadConfig workload = busy_day();
  workload.requests_per_second = 20;
  for (const Scheduling scheduling : {Scheduling::kFair, Scheduling::kFirstComeFirstServed}) {
    const Day day = simulate_day(small_machine(scheduling), workload, 1, 5);
    EXPECT_EQ(day.total.refused, 0);
    EXPECT_EQ(day.total.preemptions, 0);
    for (const GroupReport& group : day.total.groups) EXPECT_LT(group.first_token_ms.p99, 100) << group.name;
  }
}

}  // namespace
}  // namespace graft::serving::simulator
