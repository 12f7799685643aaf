#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace graft {

// A checksum against accidents, torn writes and flipped bits, at the speed of memory; no defence against people. Chain
// pieces through `start`; where they are cut matters.
inline uint64_t checksum64(std::string_view bytes, uint64_t start = 0) {
  constexpr uint64_t kFactor = 0xD6E8FEB86659FD93U;  // odd; spreads a flipped bit over the upper half
  uint64_t sum = (start ^ bytes.size()) * kFactor;
  const auto mix = [&](uint64_t word) {
    sum = (sum ^ word) * kFactor;
    sum ^= sum >> 32;
  };
  while (bytes.size() >= sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    mix(word);
    bytes.remove_prefix(sizeof word);
  }
  uint64_t rest = 0;
  if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
  mix(rest);
  return sum;
}

}  // namespace graft
