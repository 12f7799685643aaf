#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "recipe/example.h"

namespace graft::recipe {

inline constexpr int32_t kIgnoreLabel = -100;

// Ragged, without padding: sequences one after the other, attention never crosses a border.
struct PackedBatch {
  std::vector<int32_t> tokens;  // [tokens]
  // [tokens]: what the row must predict (already shifted), or kIgnoreLabel. Of a classified example: its class, at the
  // last token.
  std::vector<int32_t> labels;
  std::vector<int32_t> cu_seqlens;  // [sequences + 1], from 0 to tokens.size()
};

// The examples with these indices, in this order.
PackedBatch pack(std::span<const Example> examples, std::span<const int32_t> indices);

}  // namespace graft::recipe
