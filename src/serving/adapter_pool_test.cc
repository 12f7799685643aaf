#include "serving/adapter_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "base/test_directory.h"
#include "serving/fake_step_model.h"

namespace graft::serving {
namespace {

using std::chrono::seconds;

struct World {
  explicit World(AdapterLimits limits) : pool(limits, serials) {}

  Sequence& want(const std::string& id, int64_t file_size = 10, const std::string& token = "") {
    auto& sequence = *sequences.emplace_back(std::make_unique<Sequence>());
    sequence.arrival = sequences.size();
    AdapterFiles files;
    files.weights.size = file_size;
    pool.want(sequence, {id, "local", token}, files);
    return sequence;
  }

  // Ids of the adapters whose load starts now.
  std::vector<std::string> advance() {
    now += seconds(1);
    AdapterPool::Events events = pool.advance(now);
    ready.clear();
    for (const Sequence* sequence : events.ready) ready.push_back(sequence->arrival);
    failed.clear();
    for (const auto& [sequence, error] : events.failed) failed[sequence->arrival] = error.message;
    unloaded = events.unloaded.size();
    drain = events.drain == nullptr ? "" : events.drain->ref.id;
    drain_after = events.drain_after;
    std::vector<std::string> ids;
    for (const AdapterEntry* entry : events.load) {
      ids.push_back(entry->ref.id);
      loading[entry->ref.id] = entry->serial;
    }
    return ids;
  }

  void loaded(const std::string& id, int64_t bytes = 10) {
    pool.finish_load(loading.at(id), std::shared_ptr<const runtime::AdapterWeights>(
                                         std::make_shared<FakeAdapter>(std::hash<std::string>{}(id), bytes)));
  }

  std::atomic<uint64_t> serials{0};
  AdapterPool pool;
  std::vector<std::unique_ptr<Sequence>> sequences;
  std::map<std::string, uint64_t> loading;
  std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now() + seconds(100);
  std::vector<uint64_t> ready;
  std::map<uint64_t, std::string> failed;
  size_t unloaded = 0;
  std::string drain;
  uint64_t drain_after = 0;
};

using Ids = std::vector<std::string>;
using Arrivals = std::vector<uint64_t>;

TEST(AdapterPool, FirstSequenceCausesTheLoadAndAllWaitersGetIt) {
  World world({4, 0, {}});
  Sequence& first = world.want("a");
  EXPECT_EQ(world.advance(), Ids{"a"});
  Sequence& second = world.want("a");
  EXPECT_EQ(world.advance(), Ids{});
  EXPECT_EQ(world.pool.waiting(), 2);
  world.loaded("a");
  world.advance();
  EXPECT_EQ(world.ready, (Arrivals{1, 2}));
  EXPECT_EQ(first.weights, second.weights);
  EXPECT_NE(first.weights, nullptr);
  EXPECT_NE(first.scope.adapter, 0U);
  world.want("a");
  EXPECT_EQ(world.advance(), Ids{});
  EXPECT_EQ(world.ready, Arrivals{3});
  EXPECT_EQ(world.pool.loaded(), 1);
}

TEST(AdapterPool, IdentityIncludesTheToken) {
  World world({4, 0, {}});
  const Sequence& first = world.want("a", 10, "secret");
  world.advance();
  world.loaded("a");
  world.advance();
  const Sequence& second = world.want("a", 10, "other");
  EXPECT_EQ(world.advance(), Ids{"a"});
  EXPECT_EQ(second.weights, nullptr);
  world.loaded("a");
  world.advance();
  EXPECT_NE(first.scope.adapter, second.scope.adapter);
}

TEST(AdapterPool, FailedLoadFailsThoseThatWaitAndTheNextOneTriesAgain) {
  World world({4, 0, {}});
  world.want("a");
  world.want("a");
  world.want("b");
  world.advance();
  world.pool.finish_load(world.loading.at("a"), not_found("no a"));
  world.advance();
  EXPECT_EQ(world.failed, (std::map<uint64_t, std::string>{{1, "no a"}, {2, "no a"}}));
  EXPECT_EQ(world.sequences[0]->adapter, nullptr);
  world.want("a");
  EXPECT_EQ(world.advance(), Ids{"a"});
}

TEST(AdapterPool, DropsTheLeastRecentlyUsedUnusedOneForRoom) {
  World world({2, 0, {}});
  for (const char* id : {"a", "b"}) {
    world.want(id);
    world.advance();
    world.loaded(id);
    world.advance();
  }
  world.pool.release(*world.sequences[1]);  // b
  world.pool.release(*world.sequences[0]);  // a, used more recently
  world.want("c");
  EXPECT_EQ(world.advance(), Ids{"c"});
  EXPECT_EQ(world.unloaded, 1U);
  world.want("a");
  world.advance();
  EXPECT_EQ(world.ready, Arrivals{4});
}

TEST(AdapterPool, MemoryIsBoundedByFileSizesThenByWhatWasLoaded) {
  World world({10, 100, {}});
  world.want("a", 40);
  world.want("b", 40);
  world.want("c", 40);
  EXPECT_EQ(world.advance(), (Ids{"a", "b"}));
  world.loaded("a", 30);
  world.loaded("b", 30);
  EXPECT_EQ(world.advance(), Ids{"c"});
  world.loaded("c", 60);  // more than it seemed: 120 in use, nothing can go
  world.advance();
  EXPECT_EQ(world.pool.loaded(), 3);
  for (const auto& sequence : world.sequences) world.pool.release(*sequence);
  world.want("d", 40);
  EXPECT_EQ(world.advance(), Ids{"d"});
  EXPECT_EQ(world.unloaded, 2U);  // a and b
}

TEST(AdapterPool, AdapterThatNeverFitsIsAnError) {
  World world({10, 100, {}});
  world.want("a", 101);
  EXPECT_EQ(world.advance(), Ids{});
  EXPECT_THAT(world.failed[1], testing::HasSubstr("101 bytes"));
  world.want("b", 50);
  world.advance();
  world.loaded("b", 150);
  world.advance();
  EXPECT_THAT(world.failed[2], testing::HasSubstr("150 bytes"));
  EXPECT_EQ(world.pool.loaded(), 0);
}

TEST(AdapterPool, ChangedFilesAreANewVersionAndTheOldOneGoesWhenUnused) {
  World world({4, 0, {}});
  const Sequence& old_user = world.want("a", 10);
  world.advance();
  world.loaded("a");
  world.advance();
  const Sequence& new_user = world.want("a", 11);
  EXPECT_EQ(world.advance(), Ids{"a"});
  world.loaded("a");
  world.advance();
  EXPECT_NE(old_user.weights, new_user.weights);
  EXPECT_EQ(world.pool.loaded(), 2);
  world.pool.release(*world.sequences[0]);
  world.advance();
  EXPECT_EQ(world.unloaded, 1U);
  EXPECT_EQ(world.pool.loaded(), 1);
}

TEST(AdapterPool, CancelledWaitersDoNotCauseLoads) {
  World world({1, 0, {}});
  world.want("a");
  world.advance();
  world.want("b");
  EXPECT_EQ(world.advance(), Ids{});
  world.pool.release(*world.sequences[1]);
  world.pool.release(*world.sequences[0]);
  EXPECT_EQ(world.pool.waiting(), 0);
  world.loaded("a");  // nobody waits for it any more
  EXPECT_EQ(world.advance(), Ids{});
  EXPECT_TRUE(world.ready.empty());
  EXPECT_EQ(world.pool.loaded(), 1);
}

TEST(AdapterPool, ReleasedSequencesAreNotReported) {
  World world({4, 0, {}});
  world.want("a");
  world.want("b");
  world.advance();
  world.loaded("a");
  world.pool.finish_load(world.loading.at("b"), not_found("no b"));
  for (const auto& sequence : world.sequences) world.pool.release(*sequence);
  world.advance();
  EXPECT_TRUE(world.ready.empty());
  EXPECT_TRUE(world.failed.empty());
}

TEST(AdapterPool, BusyAdapterGivesWayToOneThatWaitsForRoom) {
  World world({1, 0, seconds(2)});
  world.want("a");
  world.advance();
  world.loaded("a");
  world.advance();
  world.want("b");
  Sequence& late = world.want("a");
  world.now = std::chrono::steady_clock::now();
  EXPECT_EQ(world.advance(), Ids{});
  EXPECT_EQ(world.drain, "");  // its cycle is not over
  world.now += seconds(10);
  world.advance();
  EXPECT_EQ(world.drain, "a");
  EXPECT_EQ(world.drain_after, 2U);
  world.pool.take_back(late);  // it had not started
  EXPECT_EQ(late.weights, nullptr);
  world.want("a");  // waits as well
  world.advance();
  EXPECT_TRUE(world.ready.empty());
  world.pool.release(*world.sequences[0]);
  EXPECT_EQ(world.advance(), Ids{"b"});
  EXPECT_EQ(world.unloaded, 1U);
  world.loaded("b");
  world.advance();
  EXPECT_EQ(world.ready, Arrivals{2});
  world.pool.release(*world.sequences[1]);
  EXPECT_EQ(world.advance(), Ids{"a"});
}

TEST(AdapterPool, DrainingEndsWhenNobodyIsBlockedAnyMore) {
  World world({1, 0, {}});
  world.want("a");
  world.advance();
  world.loaded("a");
  world.advance();
  world.want("b");
  world.advance();
  EXPECT_EQ(world.drain, "a");
  world.want("a");
  world.pool.release(*world.sequences[1]);  // b was cancelled
  world.advance();
  EXPECT_EQ(world.ready, Arrivals{3});
}

// Thousands of adapters, more than fit: everybody gets their turn, bounds hold, and nothing is left behind.
TEST(AdapterPool, ThousandsOfAdaptersTakeTurns) {
  constexpr int32_t kAdapters = 3000;
  constexpr int32_t kActive = 64;
  constexpr int64_t kBytes = 10;
  World world({kActive, kActive * kBytes, {}});
  std::mt19937 random(5);
  std::map<uint64_t, std::string> ids;
  std::vector<Sequence*> running;
  size_t finished = 0;
  constexpr size_t kRequests = 6000;
  while (finished < kRequests) {
    for (int i = 0; i < 40 && world.sequences.size() < kRequests; ++i) {
      const auto id = std::to_string(random() % kAdapters);
      ids[world.want(id, kBytes).arrival] = id;
    }
    for (const std::string& id : world.advance()) world.loaded(id, kBytes);
    for (const uint64_t arrival : world.ready) {
      Sequence& sequence = *world.sequences[arrival - 1];
      ASSERT_NE(sequence.weights, nullptr);
      ASSERT_EQ(sequence.adapter->ref.id, ids[arrival]);
      running.push_back(&sequence);
    }
    ASSERT_LE(world.pool.loaded(), kActive);
    ASSERT_LE(world.pool.bytes(), kActive * kBytes);
    while (!running.empty() && random() % 16 != 0) {
      std::swap(running[random() % running.size()], running.back());
      world.pool.release(*running.back());
      running.pop_back();
      ++finished;
    }
  }
  EXPECT_EQ(world.pool.waiting(), 0);
  EXPECT_GT(world.pool.evictions(), 1000U);
  EXPECT_EQ(world.pool.residents().size(), static_cast<size_t>(world.pool.loaded()));
  EXPECT_EQ(world.pool.loads() - world.pool.evictions(), static_cast<uint64_t>(world.pool.loaded()));
}

TEST(AdapterFiles, StampsChangeWithTheFiles) {
  const TestDirectory directory;
  const std::string path = directory.path().string();
  const AdapterFiles nothing = stat_adapter_files(path);
  EXPECT_EQ(nothing, AdapterFiles{});
  std::ofstream(path + "/adapter_config.json") << "{}";
  std::ofstream(path + "/adapter_model.safetensors") << "weights";
  const AdapterFiles first = stat_adapter_files(path);
  EXPECT_EQ(first.weights.size, 7);
  EXPECT_EQ(stat_adapter_files(path), first);
  std::ofstream(path + "/new") << "WEIGHTS";  // the same size, put in its place as an atomic writer does
  std::filesystem::rename(path + "/new", path + "/adapter_model.safetensors");
  EXPECT_NE(stat_adapter_files(path), first);
}

}  // namespace
}  // namespace graft::serving
