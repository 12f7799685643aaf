#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "text/stages/model.h"

namespace graft::text {

// Remembers how short words were cut: text repeats its words. Of fixed size (about 3 MB); a new word replaces the one
// in its slot. Words are spread over shards by hash, each with a lock of its own, so that threads rarely meet.
class WordCache {
 public:
  static constexpr size_t kLongestWord = 24;  // bytes
  static constexpr size_t kMostTokens = 6;

  WordCache();
  // Appends the word's tokens and returns true where it is known.
  bool find(std::string_view word, uint64_t hash, std::vector<ModelToken>& out);
  void store(std::string_view word, uint64_t hash, const ModelToken* tokens, size_t count);

 private:
  static constexpr size_t kShards = 64;
  static constexpr size_t kSlotsPerShard = 512;
  struct Slot {
    std::array<ModelToken, kMostTokens> tokens;
    std::array<char, kLongestWord> word;
    uint8_t size = 0;
    uint8_t count = 0;  // 0: empty
  };
  struct alignas(64) Shard {
    std::mutex mutex;
    std::vector<Slot> slots{kSlotsPerShard};
  };
  std::unique_ptr<std::array<Shard, kShards>> shards_;
};

}  // namespace graft::text
