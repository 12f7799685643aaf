#include "runtime/kv_blocks.h"

#include <cassert>
#include <utility>

namespace graft::runtime {

BlockHandle::BlockHandle(const BlockHandle& other) : pool_(other.pool_), id_(other.id_) {
  if (pool_ != nullptr) ++pool_->holders_[static_cast<size_t>(id_)];
}

BlockHandle::BlockHandle(BlockHandle&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), id_(std::exchange(other.id_, -1)) {}

BlockHandle& BlockHandle::operator=(BlockHandle other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(id_, other.id_);
  return *this;
}

BlockHandle::~BlockHandle() {
  if (pool_ != nullptr) pool_->release(id_);
}

BlockPool::BlockPool(int32_t num_blocks, int32_t block_size, bool cache_prefixes)
    : block_size_(block_size),
      cache_prefixes_(cache_prefixes),
      holders_(static_cast<size_t>(num_blocks)),
      cache_(num_blocks) {
  free_.reserve(holders_.size());
  for (int32_t id = num_blocks - 1; id >= 0; --id) free_.push_back(id);
}

int32_t BlockPool::available() const { return static_cast<int32_t>(free_.size()) + cache_.unused(); }

int32_t BlockPool::blocks_for(int64_t positions) const {
  return static_cast<int32_t>((positions + block_size_ - 1) / block_size_);
}

std::optional<BlockHandle> BlockPool::allocate() {
  int32_t id = -1;
  if (!free_.empty()) {
    id = free_.back();
    free_.pop_back();
  } else if (const auto evicted = cache_.evict()) {
    id = *evicted;
  } else {
    return std::nullopt;
  }
  holders_[static_cast<size_t>(id)] = 1;
  return BlockHandle(this, id);
}

void BlockPool::release(int32_t id) {
  if (--holders_[static_cast<size_t>(id)] > 0) return;
  if (cache_.holds(id)) {
    cache_.mark_unused(id);
  } else {
    free_.push_back(id);  // within the capacity reserved at the start: never throws
  }
}

std::vector<BlockHandle> BlockPool::find_prefix(PrefixScope scope, std::span<const int32_t> tokens,
                                                PrefixEntry& parent) {
  std::vector<BlockHandle> blocks;
  parent = {};
  const auto size = static_cast<size_t>(block_size_);
  for (size_t begin = 0; cache_prefixes_ && begin + size <= tokens.size(); begin += size) {
    const auto hit = cache_.find(scope, parent, tokens.subspan(begin, size));
    if (!hit) break;
    parent = hit->entry;
    if (holders_[static_cast<size_t>(hit->block)]++ == 0) cache_.mark_used(hit->block);
    blocks.push_back(BlockHandle(this, hit->block));
  }
  return blocks;
}

PrefixEntry BlockPool::remember(PrefixScope scope, PrefixEntry parent, std::span<const int32_t> tokens,
                                const BlockHandle& block) {
  if (!cache_prefixes_) return {};
  if (const auto hit = cache_.find(scope, parent, tokens)) return hit->entry;
  assert(!cache_.holds(block.id()) && "a block is remembered once, when it becomes full");
  return cache_.insert(scope, parent, tokens, block.id());
}

void BlockTable::append(BlockHandle block) {
  ids_.push_back(block.id());
  blocks_.push_back(std::move(block));
}

void BlockTable::clear() {
  while (!blocks_.empty()) blocks_.pop_back();
  ids_.clear();
}

}  // namespace graft::runtime
