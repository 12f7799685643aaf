#include "runtime/prefix_cache.h"

#include <utility>

namespace graft::runtime {
namespace {

// splitmix64's finaliser: every input bit reaches every output bit.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

size_t PrefixCache::KeyHash::operator()(const Key& key) const {
  uint64_t hash = mix(key.parent.serial);
  hash = mix(hash ^ key.scope.adapter);
  hash = mix(hash ^ key.scope.salt);
  for (const int32_t token : key.tokens) hash = mix(hash + static_cast<uint32_t>(token) + 1);
  return hash;
}

PrefixCache::PrefixCache(int32_t num_blocks) : slots_(static_cast<size_t>(num_blocks) + 1) {
  slots_[0].before = slots_[0].after = 0;
}

std::optional<PrefixCache::Hit> PrefixCache::find(PrefixScope scope, PrefixEntry parent,
                                                  std::span<const int32_t> tokens) const {
  const auto found = entries_.find(Key{scope, parent, {tokens.begin(), tokens.end()}});
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

PrefixEntry PrefixCache::insert(PrefixScope scope, PrefixEntry parent, std::span<const int32_t> tokens, int32_t block) {
  const PrefixEntry entry{next_serial_++};
  const auto place = entries_.emplace(Key{scope, parent, {tokens.begin(), tokens.end()}}, Hit{block, entry}).first;
  slot(block).key = &place->first;
  return entry;
}

bool PrefixCache::holds(int32_t block) const { return slot(block).key != nullptr; }

void PrefixCache::mark_unused(int32_t block) noexcept {
  Slot& last = slots_[0];
  slot(block).before = last.before;
  slot(block).after = 0;
  slots_[static_cast<size_t>(last.before)].after = block + 1;
  last.before = block + 1;
  ++unused_;
}

void PrefixCache::mark_used(int32_t block) noexcept {
  Slot& link = slot(block);
  slots_[static_cast<size_t>(link.before)].after = link.after;
  slots_[static_cast<size_t>(link.after)].before = link.before;
  link.before = link.after = -1;
  --unused_;
}

std::optional<int32_t> PrefixCache::evict() {
  if (unused_ == 0) return std::nullopt;
  const int32_t block = slots_[0].after - 1;
  mark_used(block);
  entries_.erase(entries_.find(*slot(block).key));
  slot(block).key = nullptr;
  return block;
}

}  // namespace graft::runtime
