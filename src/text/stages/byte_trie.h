#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::text {

// Strings -> values, searched byte by byte; built once. Siblings lie side by side, so that one memchr finds a child.
class ByteTrie {
 public:
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kNone = UINT32_MAX;

  ByteTrie() : nodes_(1) {}
  // Of equal strings the last wins. Values are not negative.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries);

  [[nodiscard]] uint32_t child(uint32_t node, char byte) const {
    const Node& parent = nodes_[node];
    if (parent.children == 0) return kNone;
    const uint8_t* labels = labels_.data() + parent.first;
    const void* found = std::memchr(labels, static_cast<uint8_t>(byte), parent.children);
    if (found == nullptr) return kNone;
    return parent.first + static_cast<uint32_t>(static_cast<const uint8_t*>(found) - labels);
  }
  [[nodiscard]] int32_t value(uint32_t node) const { return nodes_[node].value; }  // -1 where no string ends

  // The node that `text` leads to from another one; kNone where there is none.
  [[nodiscard]] uint32_t walk(uint32_t node, std::string_view text) const {
    for (size_t i = 0; i < text.size() && node != kNone; ++i) node = child(node, text[i]);
    return node;
  }

 private:
  struct Node {
    uint32_t first = 0;  // child
    uint32_t children = 0;
    int32_t value = -1;
  };
  std::vector<Node> nodes_;
  std::vector<uint8_t> labels_{0};  // of each node, as its parent's child
};

}  // namespace graft::text
