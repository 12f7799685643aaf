#pragma once

#include <cstdint>

namespace graft::recipe {

// What the seed of a run is drawn on for while its data is prepared. The kind is the upper byte of Philox's stream, so
// that no two uses ever read the same numbers.
enum class RandomUse : uint64_t { kSplit = 1, kSample = 2, kOrder = 3, kStratify = 4 };

constexpr uint64_t random_stream(RandomUse use, uint64_t index) {
  return static_cast<uint64_t>(use) << 56 | (index & ((uint64_t{1} << 56) - 1));
}

}  // namespace graft::recipe
