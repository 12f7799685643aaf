#include "text/stages/byte_trie.h"

#include <algorithm>

namespace graft::text {
namespace {

// A node whose children are still to be made: the entries that begin with its string, which is `depth` bytes long.
struct Open {
  size_t begin = 0;
  size_t end = 0;
  size_t depth = 0;
};

}  // namespace

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries) : nodes_(1) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Open> open = {{0, entries.size(), 0}};  // by node: they are made in breadth
  for (size_t node = 0; node < nodes_.size(); ++node) {
    auto [begin, end, depth] = open[node];
    for (; begin < end && entries[begin].first.size() == depth; ++begin) nodes_[node].value = entries[begin].second;
    nodes_[node].first = static_cast<uint32_t>(nodes_.size());
    while (begin < end) {
      const char label = entries[begin].first[depth];
      size_t next = begin;
      while (next < end && entries[next].first[depth] == label) ++next;
      nodes_.emplace_back();
      labels_.push_back(static_cast<uint8_t>(label));
      ++nodes_[node].children;
      open.push_back({begin, next, depth + 1});
      begin = next;
    }
  }
}

}  // namespace graft::text
