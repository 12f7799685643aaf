#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace graft::text {

inline uint64_t mix64(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15U;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9U;
  return x ^ (x >> 32);
}

inline uint64_t hash_bytes(std::string_view text) {
  uint64_t hash = text.size() * 0x9E3779B97F4A7C15U;
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    hash = mix64(hash ^ word);
  }
  uint64_t tail = 0;
  if (i < text.size()) std::memcpy(&tail, text.data() + i, text.size() - i);
  return mix64(hash ^ tail);
}

// Strings -> ids, built once and then only read. Open addressing; the strings stay where the caller keeps them.
class StringIds {
 public:
  void reserve(size_t count) { slots_.assign(std::bit_ceil(count * 2 + 8), Slot{}); }
  // False where the string is there already. No more strings than reserved.
  bool insert(std::string_view text, int32_t id) {
    size_t i = hash_bytes(text) & (slots_.size() - 1);
    for (; slots_[i].id >= 0; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].text == text) return false;
    }
    slots_[i] = {text, id};
    return true;
  }
  [[nodiscard]] int32_t find(std::string_view text) const {
    if (slots_.empty()) return -1;
    for (size_t i = hash_bytes(text) & (slots_.size() - 1); slots_[i].id >= 0; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].text == text) return slots_[i].id;
    }
    return -1;
  }

 private:
  struct Slot {
    std::string_view text;
    int32_t id = -1;
  };
  std::vector<Slot> slots_;
};

}  // namespace graft::text
