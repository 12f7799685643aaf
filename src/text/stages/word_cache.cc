#include "text/stages/word_cache.h"

#include <algorithm>

namespace graft::text {

WordCache::WordCache() : shards_(std::make_unique<std::array<Shard, kShards>>()) {}

bool WordCache::find(std::string_view word, uint64_t hash, std::vector<ModelToken>& out) {
  if (word.size() > kLongestWord) return false;
  Shard& shard = (*shards_)[hash % kShards];
  const std::lock_guard lock(shard.mutex);
  const Slot& slot = shard.slots[hash / kShards % kSlotsPerShard];
  if (slot.count == 0 || std::string_view(slot.word.data(), slot.size) != word) return false;
  out.insert(out.end(), slot.tokens.begin(), slot.tokens.begin() + slot.count);
  return true;
}

void WordCache::store(std::string_view word, uint64_t hash, const ModelToken* tokens, size_t count) {
  if (word.size() > kLongestWord || count == 0 || count > kMostTokens) return;
  Shard& shard = (*shards_)[hash % kShards];
  const std::lock_guard lock(shard.mutex);
  Slot& slot = shard.slots[hash / kShards % kSlotsPerShard];
  std::copy_n(tokens, count, slot.tokens.begin());
  std::copy(word.begin(), word.end(), slot.word.begin());
  slot.size = static_cast<uint8_t>(word.size());
  slot.count = static_cast<uint8_t>(count);
}

}  // namespace graft::text
