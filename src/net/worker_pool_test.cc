#include "net/worker_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "net/metrics.h"

namespace graft::net {
namespace {

TEST(WorkerPool, StopRunsWhatWasPosted) {
  WorkerPool pool(3);
  std::atomic<int> done{0};
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(pool.post([&] { ++done; }));
  pool.stop();
  EXPECT_EQ(done, 100);
  EXPECT_FALSE(pool.post([&] { ++done; }));
  pool.stop();
  EXPECT_EQ(done, 100);
}

TEST(WorkerPool, AThrowingTaskDoesNotEndItsThread) {
  WorkerPool pool(1);
  std::atomic<int> done{0};
  pool.post([] { throw std::runtime_error("task"); });
  pool.post([] { throw 1; });
  pool.post([&] { ++done; });
  pool.stop();
  EXPECT_EQ(done, 1);
}

TEST(WorkerPool, MayBeDroppedByItsOwnTask) {
  auto pool = std::make_shared<WorkerPool>(1);
  std::shared_ptr<WorkerPool> last_owner;
  std::atomic<bool> go{false};
  std::atomic<bool> done{false};
  pool->post([&] {
    go.wait(false);
    last_owner.reset();
    done = true;
    done.notify_all();
  });
  last_owner = std::move(pool);
  go = true;
  go.notify_all();
  done.wait(false);
  EXPECT_EQ(last_owner, nullptr);
}

TEST(SerialQueue, KeepsOrderAndNeverRunsTwoAtOnce) {
  auto pool = std::make_shared<WorkerPool>(4);
  auto queue = SerialQueue::create(pool);
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  std::vector<int> order;  // unguarded on purpose: the queue is the guard
  for (int i = 0; i < 1000; ++i) {
    queue->post([&, i] {
      if (++inside > 1) overlapped = true;
      order.push_back(i);
      --inside;
    });
  }
  pool->stop();
  EXPECT_FALSE(overlapped);
  ASSERT_EQ(order.size(), 1000U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(SerialQueue, DropsTasksOfAStoppedPool) {
  auto pool = std::make_shared<WorkerPool>(1);
  auto queue = SerialQueue::create(pool);
  pool->stop();
  auto token = std::make_shared<int>(1);
  queue->post([token] {});
  EXPECT_EQ(token.use_count(), 1);
}

TEST(Metrics, ExposesCountersGaugesAndHistograms) {
  MetricsRegistry registry;
  const auto requests = registry.counter("test_requests", "Requests.");
  const auto queue = registry.gauge("test_queue", "Queue.");
  const auto seconds = registry.histogram("test_seconds", "Seconds.", {0.5, 1});
  requests.add();
  requests.add(2, {{"err", "validation"}});
  queue.set(7);
  seconds.observe(0.75);
  const std::string text = registry.expose();
  EXPECT_THAT(text, ::testing::HasSubstr("# TYPE test_requests counter\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("test_requests 1\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("test_requests{err=\"validation\"} 2\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("test_queue 7\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("test_seconds_bucket{le=\"0.5\"} 0\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("test_seconds_bucket{le=\"1\"} 1\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("test_seconds_sum 0.75\n"));
}

TEST(Metrics, LimiterFoldsFurtherValuesIntoOther) {
  LabelLimiter limiter(2);
  EXPECT_EQ(limiter.admit("a"), "a");
  EXPECT_EQ(limiter.admit("b"), "b");
  EXPECT_EQ(limiter.admit("c"), "other");
  EXPECT_EQ(limiter.admit("a"), "a");
}

}  // namespace
}  // namespace graft::net
