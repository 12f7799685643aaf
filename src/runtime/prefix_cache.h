#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace graft::runtime {

// What the contents of a KV block depend on besides the tokens. Blocks are never shared across scopes.
struct PrefixScope {
  uint64_t adapter = 0;  // unique to these adapter weights in this process, never used again; 0: the base model
  uint64_t salt = 0;     // separates tenants, so that timing tells nobody what others sent
  bool operator==(const PrefixScope&) const = default;
};

// Names cached contents. Serial numbers are never used again, so that a stale one finds nothing.
struct PrefixEntry {
  uint64_t serial = 0;  // 0: the empty prefix
  bool operator==(const PrefixEntry&) const = default;
};

// Which block holds the keys and values of which prefix. A full block is found by (parent entry, its tokens, scope);
// tokens are compared, not only their hash, so that a collision can never hand out somebody else's block. Blocks that
// nobody holds are kept in the order in which they were given back.
class PrefixCache {
 public:
  explicit PrefixCache(int32_t num_blocks);

  struct Hit {
    int32_t block = -1;
    PrefixEntry entry;
  };
  [[nodiscard]] std::optional<Hit> find(PrefixScope scope, PrefixEntry parent, std::span<const int32_t> tokens) const;
  // The contents must not be cached yet, and the block must hold nothing cached.
  PrefixEntry insert(PrefixScope scope, PrefixEntry parent, std::span<const int32_t> tokens, int32_t block);

  [[nodiscard]] bool holds(int32_t block) const;
  void mark_unused(int32_t block) noexcept;  // somebody held it until now
  void mark_used(int32_t block) noexcept;    // somebody holds it from now on
  std::optional<int32_t> evict();            // forgets the least recently used one that nobody holds
  [[nodiscard]] int32_t unused() const { return unused_; }
  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(entries_.size()); }

 private:
  struct Key {
    PrefixScope scope;
    PrefixEntry parent;
    std::vector<int32_t> tokens;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  using Entries = std::unordered_map<Key, Hit, KeyHash>;

  // A link of the list of blocks that nobody holds, least recently used first. Index 0 is the list's anchor, block b is
  // link b + 1: nothing is allocated when a block is given back.
  struct Slot {
    const Key* key = nullptr;  // in entries_; null: not cached
    int32_t before = -1;       // -1: not in the list
    int32_t after = -1;
  };
  [[nodiscard]] Slot& slot(int32_t block) { return slots_[static_cast<size_t>(block) + 1]; }
  [[nodiscard]] const Slot& slot(int32_t block) const { return slots_[static_cast<size_t>(block) + 1]; }

  Entries entries_;
  std::vector<Slot> slots_;
  int32_t unused_ = 0;  // length of the list
  uint64_t next_serial_ = 1;
};

}  // namespace graft::runtime
