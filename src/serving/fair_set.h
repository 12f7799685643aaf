#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <tuple>

namespace graft::serving {

// Those that compete for one server: the one that was served least comes first. A Node has `double served` (its virtual
// time), `uint64_t head()` (the arrival of its first waiting sequence, which breaks ties) and a `FairPlace<Node>
// place`.
template <class Node>
using FairPlace = std::tuple<double, uint64_t, Node*>;

template <class Node>
class FairSet {
 public:
  [[nodiscard]] Node* first() const { return places_.empty() ? nullptr : std::get<2>(*places_.begin()); }

  // Where a newcomer begins: with the least of those that wait, or else with the last one that did. Never goes back.
  [[nodiscard]] double floor() const {
    if (!places_.empty()) return std::max(floor_, std::get<0>(*places_.begin()));
    return last_ == nullptr ? floor_ : std::max(floor_, last_->served);
  }

  // It begins to wait. Time in which it asked for nothing is no credit.
  void insert(Node& node) {
    floor_ = floor();
    node.served = std::max(node.served, floor_);
    node.place = {node.served, node.head(), &node};
    places_.insert(node.place);
  }

  void erase(Node& node) {
    floor_ = floor();
    places_.erase(node.place);
    last_ = &node;
  }

  // It does not wait, and is about to be destroyed.
  void forget(Node& node) {
    if (last_ != &node) return;
    floor_ = floor();
    last_ = nullptr;
  }

  // Its virtual time or its head has changed. Nothing happens where it does not wait.
  void update(Node& node) {
    if (places_.erase(node.place) == 0) return;
    node.place = {node.served, node.head(), &node};
    places_.insert(node.place);
    floor_ = floor();
  }

 private:
  std::set<FairPlace<Node>> places_;
  Node* last_ = nullptr;  // that stopped waiting
  double floor_ = 0;
};

}  // namespace graft::serving
