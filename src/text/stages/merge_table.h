#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/stages/flat_hash.h"
#include "text/stages/model.h"

namespace graft::text {

// BPE's rules: which two neighbours become which token, and in what order. Then the algorithm that applies them.
class MergeTable {
 public:
  struct Rule {
    uint32_t rank = kNone;
    int32_t result = 0;
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  void reserve(size_t count);
  // A pair that is there already gets the new rank, as in `tokenizers`. No more rules than reserved.
  void insert(int32_t left, int32_t right, Rule rule);
  [[nodiscard]] Rule find(int32_t left, int32_t right) const;

  // Merges neighbours among the symbols from `begin` on until no rule fits: always the rule of the lowest rank, at its
  // leftmost place. In n log n time.
  void apply(std::vector<ModelToken>& symbols, size_t begin) const;

 private:
  // Both return how many symbols are left.
  size_t apply_to_short(std::span<ModelToken> symbols) const;
  size_t apply_to_long(std::span<ModelToken> symbols) const;

  struct Slot {
    uint64_t pair = UINT64_MAX;
    Rule rule;
  };
  static uint64_t key(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  std::vector<Slot> slots_;
};

}  // namespace graft::text
