#include "runtime/logit_filters.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "runtime/vocab_kernels.h"

namespace graft::runtime {
namespace {

// A place in the ranking by (key, id).
using Rank = std::pair<float, int32_t>;

// Non-negative floats order as their bits do; the upper bits cut each power of two into 16 buckets.
constexpr int kBucketShift = 19;
constexpr size_t kBuckets = size_t{1} << (32 - kBucketShift - 1);
constexpr size_t kScanBlock = 256;

size_t bucket_of(float key) { return std::bit_cast<uint32_t>(key) >> kBucketShift; }

struct Weighted {
  Rank rank;
  float weight = 0;
  bool operator<(const Weighted& other) const { return rank < other.rank; }
};

// The last one that stays, where `before` is the weight of everything in front of these: halves them until few are
// left.
Rank find_border_within(std::span<Weighted> elements, double before, double mass) {
  constexpr size_t kFew = 32;
  while (elements.size() > kFew) {
    const size_t half = elements.size() / 2;
    std::nth_element(elements.begin(), elements.begin() + static_cast<ptrdiff_t>(half), elements.end());
    double sum = before;
    for (const Weighted& element : elements.first(half)) sum += static_cast<double>(element.weight);
    if (sum >= mass) {
      elements = elements.first(half);
    } else {
      before = sum;
      elements = elements.subspan(half);
    }
  }
  std::sort(elements.begin(), elements.end());
  Rank last = elements.front().rank;
  for (const Weighted& element : elements) {
    last = element.rank;
    before += static_cast<double>(element.weight);
    if (before >= mass) break;
  }
  return last;
}

// The last one that stays when elements are taken by (key, id) until their weights add up to `mass`. Looks closely only
// at the bucket in which the border lies. keys: >= 0, may be infinite.
Rank find_border(std::span<const float> keys, const Candidates& candidates, double mass) {
  std::array<double, kBuckets> sums{};
  for (size_t i = 0; i < keys.size(); ++i) sums[bucket_of(keys[i])] += static_cast<double>(candidates.weights[i]);
  double before = 0;
  size_t border = 0;
  while (border < kBuckets && before + sums[border] < mass) before += sums[border++];
  if (border == kBuckets) {  // rounding: `mass` is more than there is
    return {std::numeric_limits<float>::infinity(), std::numeric_limits<int32_t>::max()};
  }
  std::vector<Weighted> bucket;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (bucket_of(keys[i]) == border) bucket.push_back({{keys[i], candidates.ids[i]}, candidates.weights[i]});
  }
  return find_border_within(bucket, before, mass);
}

template <class Keep>
void compact(Candidates& candidates, Keep keep) {
  size_t kept = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!keep(i)) continue;
    candidates.ids[kept] = candidates.ids[i];
    candidates.distances[kept] = candidates.distances[i];
    candidates.weights[kept] = candidates.weights[i];
    ++kept;
  }
  candidates.ids.resize(kept);
  candidates.distances.resize(kept);
  candidates.weights.resize(kept);
}

}  // namespace

std::vector<int32_t> smallest(std::span<const float> keys, size_t count) {
  count = std::min(count, keys.size());
  std::vector<Rank> heap;  // the best so far, the worst of them in front
  heap.reserve(count);
  for (size_t i = 0; i < keys.size() && count > 0; ++i) {
    // Most blocks hold nothing of interest once the heap is full.
    if (i % kScanBlock == 0 && heap.size() == count) {
      while (i < keys.size() &&
             !any_below(keys.subspan(i, std::min(kScanBlock, keys.size() - i)), heap.front().first)) {
        i += kScanBlock;
      }
      if (i >= keys.size()) break;
    }
    const Rank rank{keys[i], static_cast<int32_t>(i)};
    if (heap.size() == count) {
      if (!(rank.first < heap.front().first)) continue;  // a later id never replaces an equal key
      std::pop_heap(heap.begin(), heap.end());
      heap.back() = rank;
    } else {
      heap.push_back(rank);
    }
    std::push_heap(heap.begin(), heap.end());
  }
  std::sort_heap(heap.begin(), heap.end());
  std::vector<int32_t> ids(heap.size());
  std::transform(heap.begin(), heap.end(), ids.begin(), [](const Rank& rank) { return rank.second; });
  return ids;
}

void keep_top_k(Candidates& candidates, int32_t k) {
  const auto count = static_cast<size_t>(k);
  if (count >= candidates.size()) return;
  const float limit = candidates.distances[static_cast<size_t>(smallest(candidates.distances, count).back())];
  compact(candidates, [&](size_t i) { return candidates.distances[i] <= limit; });
}

void keep_top_p(Candidates& candidates, double mass) {
  const Rank last = find_border(candidates.distances, candidates, mass * sum_double(candidates.weights));
  compact(candidates, [&](size_t i) { return Rank{candidates.distances[i], candidates.ids[i]} <= last; });
}

void keep_typical_p(Candidates& candidates, double mass) {
  // Information content of a token is distance + log(total), so that log(total) drops out of its difference from the
  // entropy.
  const double total = sum_double(candidates.weights);
  double mean_distance = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates.weights[i] > 0) {
      mean_distance += static_cast<double>(candidates.weights[i]) * static_cast<double>(candidates.distances[i]);
    }
  }
  mean_distance /= total;
  std::vector<float> keys(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    keys[i] = static_cast<float>(std::abs(static_cast<double>(candidates.distances[i]) - mean_distance));
  }
  const float limit = find_border(keys, candidates, mass * total).first;
  compact(candidates, [&](size_t i) { return keys[i] <= limit; });
}

}  // namespace graft::runtime
