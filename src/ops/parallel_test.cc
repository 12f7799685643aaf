#include "ops/cpu/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace graft::ops::cpu {
namespace {

TEST(ParallelFor, RunsEveryTaskOnceInJobsOfAnySize) {
  for (int round = 0; round < 20000; ++round) {
    const int64_t count = round % 37;
    std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
    parallel_for(count, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
    for (const auto& n : runs) ASSERT_EQ(n, 1) << "round " << round;
  }
}

TEST(ParallelFor, CallsFromSeveralThreadsAndFromInsideTasksRunAllTheirTasks) {
  std::vector<std::thread> callers;
  std::atomic<int64_t> total = 0;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int round = 0; round < 500; ++round) {
        parallel_for(5, [&](int64_t) { parallel_for(3, [&](int64_t) { ++total; }); });
      }
    });
  }
  for (auto& thread : callers) thread.join();
  EXPECT_EQ(total, 4 * 500 * 5 * 3);
}

}  // namespace
}  // namespace graft::ops::cpu
