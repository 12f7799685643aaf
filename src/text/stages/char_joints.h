#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace graft::text {

// Pairs of characters between which some rule of BPE may put tokens together. Between all others text can be cut
// before the rules are applied: nothing ever crosses there, so that a text that nobody cut into words falls into short
// pieces by itself. A set of hashes: it may hold a pair too many, which costs time, never one too few.
class CharJoints {
 public:
  void reserve(size_t rules) {
    shift_ = 64 - std::bit_width(rules * kBitsPerRule + 1023);
    bits_.assign((size_t{1} << (64 - shift_)) / 64, 0);
  }
  void insert(char32_t left, char32_t right) {
    const size_t i = index(left, right);
    bits_[i / 64] |= uint64_t{1} << (i % 64);
  }
  [[nodiscard]] bool may_join(char32_t left, char32_t right) const {
    const size_t i = index(left, right);
    return ((bits_[i / 64] >> (i % 64)) & 1) != 0;
  }

 private:
  static constexpr size_t kBitsPerRule = 8;  // many rules share a pair
  [[nodiscard]] size_t index(char32_t left, char32_t right) const {
    const uint64_t mixed = (left * 0x9E3779B97F4A7C15U) ^ (right * 0xC2B2AE3D27D4EB4FU);
    return (mixed * 0xBF58476D1CE4E5B9U) >> shift_;
  }
  std::vector<uint64_t> bits_;
  int shift_ = 0;
};

}  // namespace graft::text
