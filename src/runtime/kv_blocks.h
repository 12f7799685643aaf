#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/prefix_cache.h"

namespace graft::runtime {

class BlockPool;

// One share of a KV block. Copies share it; the last one to go gives it back to its pool, which must still live.
class BlockHandle {
 public:
  BlockHandle() = default;
  BlockHandle(const BlockHandle& other);
  BlockHandle(BlockHandle&& other) noexcept;
  BlockHandle& operator=(BlockHandle other) noexcept;
  ~BlockHandle();

  [[nodiscard]] int32_t id() const { return id_; }  // physical id; -1: none

 private:
  friend class BlockPool;
  BlockHandle(BlockPool* pool, int32_t id) : pool_(pool), id_(id) {}

  BlockPool* pool_ = nullptr;
  int32_t id_ = -1;
};

// Hands out the ids of the model's KV blocks; it never touches their contents. A block that nobody holds but whose
// contents are known to the prefix cache stays there until room is needed, least recently used first. Belongs to one
// thread.
class BlockPool {
 public:
  BlockPool(int32_t num_blocks, int32_t block_size, bool cache_prefixes);
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  [[nodiscard]] int32_t num_blocks() const { return static_cast<int32_t>(holders_.size()); }
  [[nodiscard]] int32_t block_size() const { return block_size_; }
  // Blocks that allocate() can still hand out, cached ones that nobody holds included.
  [[nodiscard]] int32_t available() const;
  [[nodiscard]] int32_t cached() const { return cache_.size(); }
  [[nodiscard]] int32_t blocks_for(int64_t positions) const;  // rounded up

  std::optional<BlockHandle> allocate();  // empty when there is none left

  // The longest run of full blocks, from position 0 on, whose contents are cached for these tokens in this scope.
  // `parent` becomes the cache entry of the last one.
  std::vector<BlockHandle> find_prefix(PrefixScope scope, std::span<const int32_t> tokens, PrefixEntry& parent);

  // Tells the cache what a full block that has been computed holds: block_size tokens that follow `parent`. Returns
  // the entry that describes those contents, as the parent for the next block. Where another block holds them already,
  // that one stays the cached one.
  PrefixEntry remember(PrefixScope scope, PrefixEntry parent, std::span<const int32_t> tokens,
                       const BlockHandle& block);

 private:
  friend class BlockHandle;
  void release(int32_t id);

  int32_t block_size_;
  bool cache_prefixes_;
  std::vector<int32_t> holders_;  // handles per block
  std::vector<int32_t> free_;     // last freed first
  PrefixCache cache_;
};

// The blocks of one sequence: block i holds positions [i * block_size, (i + 1) * block_size).
class BlockTable {
 public:
  void append(BlockHandle block);
  void clear();  // gives back the last block first, so that the cache drops tails before heads
  [[nodiscard]] std::span<const int32_t> ids() const { return ids_; }
  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(ids_.size()); }
  [[nodiscard]] const BlockHandle& operator[](int32_t i) const { return blocks_[static_cast<size_t>(i)]; }

  BlockTable() = default;
  BlockTable(BlockTable&&) = default;
  BlockTable& operator=(BlockTable&&) = default;
  ~BlockTable() { clear(); }

 private:
  std::vector<BlockHandle> blocks_;
  std::vector<int32_t> ids_;  // the same, contiguous for SequenceSlice
};

}  // namespace graft::runtime
