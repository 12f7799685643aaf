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
size_t bucket_of(float key) { return std::bit_cast<uint32_t>(key) >> kBucketShift; }

// The last one that stays when elements are taken by (key, id) until their weights add up to `mass`. Sorts only the
// bucket in which the border lies. keys: >= 0, may be infinite.
Rank find_border(std::span<const float> keys, const Candidates& candidates, double mass) {
  std::array<double, kBuckets> sums{};
  for (size_t i = 0; i < keys.size(); ++i) sums[bucket_of(keys[i])] += static_cast<double>(candidates.weights[i]);
  double before = 0;
  size_t border = 0;
  while (border < kBuckets && before + sums[border] < mass) before += sums[border++];
  Rank last{std::numeric_limits<float>::infinity(), std::numeric_limits<int32_t>::max()};
  if (border == kBuckets) return last;  // rounding: `mass` is more than there is

  std::vector<std::pair<Rank, float>> bucket;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (bucket_of(keys[i]) == border) bucket.push_back({{keys[i], candidates.ids[i]}, candidates.weights[i]});
  }
  std::sort(bucket.begin(), bucket.end());
  for (const auto& [rank, weight] : bucket) {
    last = rank;
    before += static_cast<double>(weight);
    if (before >= mass) break;
  }
  return last;
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
