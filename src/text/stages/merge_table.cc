#include "text/stages/merge_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

namespace graft::text {
namespace {

// Up to here, looking at all neighbours for every merge is faster than keeping a heap.
constexpr size_t kShort = 48;

struct Candidate {
  uint32_t rank = 0;
  uint32_t place = 0;
  int32_t result = 0;
  // For a heap whose top is the lowest rank, and the leftmost of equals.
  bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : place > other.place; }
};

struct Link {
  uint32_t previous = 0;
  uint32_t next = 0;
};

}  // namespace

void MergeTable::reserve(size_t count) { slots_.assign(std::bit_ceil(count * 2 + 8), Slot{}); }

void MergeTable::insert(int32_t left, int32_t right, Rule rule) {
  const uint64_t pair = key(left, right);
  size_t i = mix64(pair) & (slots_.size() - 1);
  while (slots_[i].pair != UINT64_MAX && slots_[i].pair != pair) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {pair, rule};
}

MergeTable::Rule MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t pair = key(left, right);
  for (size_t i = mix64(pair) & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].pair == pair) return slots_[i].rule;
    if (slots_[i].pair == UINT64_MAX) return {};
  }
}

void MergeTable::apply(std::vector<ModelToken>& symbols, size_t begin) const {
  const std::span<ModelToken> word = std::span(symbols).subspan(begin);
  if (word.size() < 2) return;
  symbols.resize(begin + (word.size() <= kShort ? apply_to_short(word) : apply_to_long(word)));
}

size_t MergeTable::apply_to_short(std::span<ModelToken> symbols) const {
  std::array<Rule, kShort> rules;  // rules[i]: of symbols i and i + 1
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) rules[i] = find(symbols[i].id, symbols[i + 1].id);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (rules[i].rank < rules[best].rank) best = i;
    }
    if (rules[best].rank == kNone) break;
    symbols[best] = {rules[best].result, symbols[best].size + symbols[best + 1].size};
    for (size_t i = best + 1; i + 1 < count; ++i) symbols[i] = symbols[i + 1];
    for (size_t i = best + 1; i + 2 < count; ++i) rules[i] = rules[i + 1];
    --count;
    if (best > 0) rules[best - 1] = find(symbols[best - 1].id, symbols[best].id);
    if (best + 1 < count) rules[best] = find(symbols[best].id, symbols[best + 1].id);
  }
  return count;
}

// A linked list of symbols and a heap of candidates. A candidate is stale where its pair has changed since: then the
// rule of the present pair gives another token.
size_t MergeTable::apply_to_long(std::span<ModelToken> symbols) const {
  const auto count = static_cast<uint32_t>(symbols.size());
  std::vector<Link> links(count);
  std::vector<Candidate> initial;
  initial.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    links[i] = {i - 1, i + 1};
    if (i + 1 == count) break;
    const Rule rule = find(symbols[i].id, symbols[i + 1].id);
    if (rule.rank != kNone) initial.push_back({rule.rank, i, rule.result});
  }
  std::priority_queue<Candidate> heap(std::less<Candidate>(), std::move(initial));
  const auto consider = [&](uint32_t left, uint32_t right) {
    const Rule rule = find(symbols[left].id, symbols[right].id);
    if (rule.rank != kNone) heap.push({rule.rank, left, rule.result});
  };
  while (!heap.empty()) {
    const Candidate top = heap.top();
    heap.pop();
    const uint32_t right = links[top.place].next;
    if (symbols[top.place].id < 0 || right >= count) continue;
    const Rule rule = find(symbols[top.place].id, symbols[right].id);
    if (rule.rank == kNone || rule.result != top.result) continue;
    symbols[top.place] = {rule.result, symbols[top.place].size + symbols[right].size};
    symbols[right].id = -1;  // taken in
    links[top.place].next = links[right].next;
    if (links[right].next < count) {
      links[links[right].next].previous = top.place;
      consider(top.place, links[right].next);
    }
    if (top.place > 0) consider(links[top.place].previous, top.place);
  }
  const auto kept = std::remove_if(symbols.begin(), symbols.end(), [](const ModelToken& s) { return s.id < 0; });
  return static_cast<size_t>(kept - symbols.begin());
}

}  // namespace graft::text
