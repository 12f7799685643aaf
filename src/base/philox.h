#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace graft {

// Philox4x32-10, a counter-based random number generator: every number is a pure function of (key, counter), so that
// results never depend on how many numbers somebody else drew. J. Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011.
using PhiloxBlock = std::array<uint32_t, 4>;

constexpr PhiloxBlock philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53;
  constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;
  constexpr uint32_t kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
}

// Block number `index` of stream `stream` of `seed`: 2^64 independent streams of 2^64 blocks for every seed.
constexpr PhiloxBlock philox_block(uint64_t seed, uint64_t stream, uint64_t index) {
  return philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), static_cast<uint32_t>(stream),
                     static_cast<uint32_t>(stream >> 32)},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

// [0, 1) from the upper bits; never rounds up to 1.
constexpr float unit_float(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24F; }
constexpr double unit_double(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

// Reads one stream from its beginning, or from block `index` on.
class PhiloxStream {
 public:
  constexpr PhiloxStream(uint64_t seed, uint64_t stream, uint64_t index = 0)
      : seed_(seed), stream_(stream), index_(index) {}

  constexpr uint32_t next_u32() {
    if (used_ == 4) {
      block_ = philox_block(seed_, stream_, index_++);
      used_ = 0;
    }
    return block_[used_++];
  }
  constexpr uint64_t next_u64() {
    const uint64_t high = next_u32();
    return high << 32 | next_u32();
  }
  constexpr float next_float() { return unit_float(next_u32()); }     // [0, 1)
  constexpr double next_double() { return unit_double(next_u64()); }  // [0, 1)

  // Uniform in [0, bound), without modulo bias: numbers under 2^64 mod bound are thrown away. bound >= 1.
  constexpr uint64_t below(uint64_t bound) {
    const uint64_t threshold = (0 - bound) % bound;
    uint64_t bits = next_u64();
    while (bits < threshold) bits = next_u64();
    return bits % bound;
  }

 private:
  uint64_t seed_;
  uint64_t stream_;
  uint64_t index_;
  PhiloxBlock block_{};
  size_t used_ = 4;
};

// Fisher-Yates: the permutation is a function of (size, seed, stream).
template <class T>
constexpr void philox_shuffle(std::span<T> items, uint64_t seed, uint64_t stream) {
  PhiloxStream random(seed, stream);
  for (size_t i = items.size(); i > 1; --i) {
    using std::swap;
    swap(items[i - 1], items[static_cast<size_t>(random.below(i))]);
  }
}

}  // namespace graft
