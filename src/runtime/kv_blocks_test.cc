#include "runtime/kv_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <utility>

namespace graft::runtime {
namespace {

using Tokens = std::vector<int32_t>;

// Allocates a block for `tokens` after `parent` and tells the cache.
BlockHandle fill(BlockPool& pool, PrefixScope scope, PrefixEntry& parent, const Tokens& tokens) {
  BlockHandle block = *pool.allocate();
  parent = pool.remember(scope, parent, tokens, block);
  return block;
}

std::vector<int32_t> ids(const std::vector<BlockHandle>& blocks) {
  std::vector<int32_t> result;
  for (const BlockHandle& block : blocks) result.push_back(block.id());
  return result;
}

TEST(BlockPool, HandsOutEveryIdOnceThenNone) {
  BlockPool pool(5, 4, true);
  std::set<int32_t> seen;
  std::vector<BlockHandle> held;
  for (int i = 0; i < 5; ++i) {
    held.push_back(*pool.allocate());
    seen.insert(held.back().id());
  }
  EXPECT_EQ(seen, (std::set<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_FALSE(pool.allocate().has_value());
  EXPECT_EQ(pool.available(), 0);
  held.pop_back();
  EXPECT_EQ(pool.available(), 1);
}

TEST(BlockPool, BlockComesBackWithItsLastHandle) {
  BlockPool pool(1, 4, false);
  BlockHandle first = *pool.allocate();
  BlockHandle second = first;
  BlockHandle third = std::move(first);
  second = BlockHandle();
  EXPECT_EQ(pool.available(), 0);
  third = BlockHandle();
  EXPECT_EQ(pool.available(), 1);
}

TEST(BlockPool, RoundsBlocksUp) {
  const BlockPool pool(1, 16, false);
  EXPECT_EQ(pool.blocks_for(0), 0);
  EXPECT_EQ(pool.blocks_for(1), 1);
  EXPECT_EQ(pool.blocks_for(16), 1);
  EXPECT_EQ(pool.blocks_for(17), 2);
}

TEST(PrefixCache, FindsTheLongestCachedRun) {
  BlockPool pool(8, 2, true);
  PrefixEntry parent;
  std::vector<BlockHandle> held;
  held.push_back(fill(pool, {}, parent, {1, 2}));
  held.push_back(fill(pool, {}, parent, {3, 4}));
  PrefixEntry entry;
  EXPECT_EQ(ids(pool.find_prefix({}, Tokens{1, 2, 3, 4, 5, 6}, entry)), ids(held));
  EXPECT_EQ(entry, parent);
  EXPECT_EQ(ids(pool.find_prefix({}, Tokens{1, 2, 9, 9}, entry)), Tokens{held[0].id()});
  EXPECT_TRUE(pool.find_prefix({}, Tokens{3, 4}, entry).empty());  // the same tokens after another prefix
  EXPECT_TRUE(pool.find_prefix({}, Tokens{1}, entry).empty());
  EXPECT_EQ(entry, PrefixEntry{});
}

TEST(PrefixCache, AdaptersAndSaltsNeverShare) {
  BlockPool pool(8, 2, true);
  PrefixEntry parent;
  const BlockHandle block = fill(pool, {7, 1}, parent, {1, 2});
  PrefixEntry entry;
  EXPECT_EQ(pool.find_prefix({7, 1}, Tokens{1, 2}, entry).size(), 1U);
  EXPECT_TRUE(pool.find_prefix({8, 1}, Tokens{1, 2}, entry).empty());
  EXPECT_TRUE(pool.find_prefix({7, 2}, Tokens{1, 2}, entry).empty());
  EXPECT_TRUE(pool.find_prefix({0, 0}, Tokens{1, 2}, entry).empty());
}

TEST(PrefixCache, KeepsContentsUntilRoomIsNeededOldestFirst) {
  BlockPool pool(2, 1, true);
  PrefixEntry root_a;
  PrefixEntry root_b;
  const int32_t a = fill(pool, {}, root_a, {1}).id();
  const int32_t b = fill(pool, {}, root_b, {2}).id();
  EXPECT_EQ(pool.available(), 2);
  EXPECT_EQ(pool.cached(), 2);
  PrefixEntry entry;
  EXPECT_EQ(ids(pool.find_prefix({}, Tokens{1}, entry)), Tokens{a});  // uses a: now b is the older one
  EXPECT_EQ(pool.allocate()->id(), b);
  EXPECT_TRUE(pool.find_prefix({}, Tokens{2}, entry).empty());
  EXPECT_EQ(ids(pool.find_prefix({}, Tokens{1}, entry)), Tokens{a});
}

TEST(PrefixCache, HeldBlocksAreNeverEvicted) {
  BlockPool pool(2, 1, true);
  PrefixEntry root;
  const int32_t cached = fill(pool, {}, root, {1}).id();
  PrefixEntry entry;
  const auto held = pool.find_prefix({}, Tokens{1}, entry);
  const BlockHandle other = *pool.allocate();
  EXPECT_NE(other.id(), cached);
  EXPECT_FALSE(pool.allocate().has_value());
  EXPECT_EQ(pool.available(), 0);
}

TEST(PrefixCache, ChildrenOfAnEvictedParentAreNotFoundUnderItsSuccessor) {
  BlockPool pool(3, 1, true);
  PrefixEntry chain;
  std::vector<BlockHandle> held;
  held.push_back(fill(pool, {}, chain, {1}));
  held.push_back(fill(pool, {}, chain, {2}));
  held[0] = BlockHandle();  // the parent is given back first, so it is the first to go
  const BlockHandle spare = *pool.allocate();
  const BlockHandle evicting = *pool.allocate();
  PrefixEntry entry;
  EXPECT_TRUE(pool.find_prefix({}, Tokens{1, 2}, entry).empty());
}

TEST(PrefixCache, SecondCopyOfTheSameContentsIsNotCached) {
  BlockPool pool(4, 1, true);
  PrefixEntry first;
  PrefixEntry second;
  const BlockHandle a = fill(pool, {}, first, {1});
  const BlockHandle b = fill(pool, {}, second, {1});
  EXPECT_EQ(first, second);
  PrefixEntry entry;
  EXPECT_EQ(ids(pool.find_prefix({}, Tokens{1}, entry)), Tokens{a.id()});
  EXPECT_EQ(pool.cached(), 1);
}

TEST(PrefixCache, OffMeansNothingIsFound) {
  BlockPool pool(4, 1, false);
  PrefixEntry parent;
  const BlockHandle block = fill(pool, {}, parent, {1});
  PrefixEntry entry;
  EXPECT_TRUE(pool.find_prefix({}, Tokens{1}, entry).empty());
}

TEST(BlockTable, GivesBackTailsBeforeHeads) {
  BlockPool pool(2, 1, true);
  PrefixEntry chain;
  BlockTable table;
  table.append(fill(pool, {}, chain, {1}));
  table.append(fill(pool, {}, chain, {2}));
  const int32_t tail = table.ids()[1];
  table.clear();
  EXPECT_EQ(table.size(), 0);
  EXPECT_EQ(pool.allocate()->id(), tail);
  PrefixEntry entry;
  EXPECT_EQ(pool.find_prefix({}, Tokens{1, 2}, entry).size(), 1U);
}

// Random sequences over a tiny alphabet; what each block holds is tracked beside the pool.
TEST(PrefixCache, RandomUseNeverReturnsOtherContents) {
  std::mt19937 random(17);
  constexpr size_t kBlock = 2;
  BlockPool pool(12, kBlock, true);
  std::map<int32_t, std::pair<uint64_t, Tokens>> contents;  // block -> adapter and whole prefix
  std::vector<BlockTable> live;
  int hits = 0;
  for (int round = 0; round < 5000; ++round) {
    if (!live.empty() && random() % 2 == 0) {
      std::swap(live[random() % live.size()], live.back());
      live.pop_back();
    }
    const PrefixScope scope{random() % 2, 0};
    Tokens tokens;
    for (size_t i = 0; i < kBlock * (1 + random() % 4); ++i) tokens.push_back(static_cast<int32_t>(random() % 2));
    PrefixEntry parent;
    BlockTable table;
    for (BlockHandle& block : pool.find_prefix(scope, tokens, parent)) {
      const auto end = static_cast<ptrdiff_t>(kBlock * static_cast<size_t>(table.size() + 1));
      ASSERT_EQ(contents[block.id()], std::pair(scope.adapter, Tokens(tokens.begin(), tokens.begin() + end)));
      table.append(std::move(block));
      ++hits;
    }
    for (size_t begin = kBlock * static_cast<size_t>(table.size()); begin < tokens.size(); begin += kBlock) {
      auto block = pool.allocate();
      if (!block) break;
      for (const BlockTable& other : live) ASSERT_FALSE(std::ranges::count(other.ids(), block->id()));
      contents[block->id()] = {scope.adapter,
                               Tokens(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(begin + kBlock))};
      parent = pool.remember(scope, parent, std::span(tokens).subspan(begin, kBlock), *block);
      table.append(std::move(*block));
    }
    live.push_back(std::move(table));
    std::set<int32_t> held;
    for (const BlockTable& other : live) held.insert(other.ids().begin(), other.ids().end());
    ASSERT_EQ(pool.available(), 12 - static_cast<int32_t>(held.size()));
  }
  EXPECT_GT(hits, 1000);
}

}  // namespace
}  // namespace graft::runtime
