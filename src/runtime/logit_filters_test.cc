#include "runtime/logit_filters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "runtime/vocab_kernels.h"

namespace graft::runtime {
namespace {

// Distances on a coarse grid, so that many are equal.
Candidates random_candidates(size_t size, std::mt19937& random) {
  Candidates candidates;
  std::uniform_int_distribution<int> grid(0, 40);
  for (size_t i = 0; i < size; ++i) {
    candidates.ids.push_back(static_cast<int32_t>(i));
    candidates.distances.push_back(static_cast<float>(grid(random)) * 0.25F);
  }
  candidates.weights.resize(size);
  exp_weights(candidates.distances, candidates.weights);
  return candidates;
}

// Ids by (key, id).
std::vector<int32_t> ranking(const std::vector<float>& keys) {
  std::vector<int32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return keys[static_cast<size_t>(a)] < keys[static_cast<size_t>(b)]; });
  return order;
}

TEST(LogitFilters, SmallestEqualsAFullSort) {
  std::mt19937 random(5);
  for (const size_t count : {0UL, 1UL, 3UL, 50UL, 300UL, 400UL}) {
    const Candidates candidates = random_candidates(300, random);
    std::vector<int32_t> expected = ranking(candidates.distances);
    expected.resize(std::min(count, expected.size()));
    EXPECT_EQ(smallest(candidates.distances, count), expected);
  }
}

TEST(LogitFilters, TopKKeepsWhateverEqualsTheKth) {
  std::mt19937 random(6);
  for (const int32_t k : {1, 2, 17, 299, 300, 1000}) {
    Candidates candidates = random_candidates(300, random);
    const std::vector<float> distances = candidates.distances;
    const std::vector<int32_t> order = ranking(distances);
    const auto kth = static_cast<size_t>(order[static_cast<size_t>(std::min(k, 300)) - 1]);
    std::vector<int32_t> expected;
    for (size_t i = 0; i < distances.size(); ++i) {
      if (distances[i] <= distances[kth]) expected.push_back(static_cast<int32_t>(i));
    }
    keep_top_k(candidates, k);
    EXPECT_EQ(candidates.ids, expected);
    EXPECT_EQ(candidates.distances.size(), expected.size());
    EXPECT_EQ(candidates.weights.size(), expected.size());
  }
}

TEST(LogitFilters, TopPKeepsTheShortestPrefixOfTheRanking) {
  std::mt19937 random(7);
  for (const double mass : {1e-9, 0.1, 0.5, 0.9, 0.99999}) {
    Candidates candidates = random_candidates(300, random);
    const double total = std::accumulate(candidates.weights.begin(), candidates.weights.end(), 0.0);
    std::vector<int32_t> expected;
    double before = 0;
    for (const int32_t id : ranking(candidates.distances)) {
      if (before >= mass * total) break;
      expected.push_back(id);
      before += static_cast<double>(candidates.weights[static_cast<size_t>(id)]);
    }
    std::sort(expected.begin(), expected.end());
    keep_top_p(candidates, mass);
    EXPECT_EQ(candidates.ids, expected) << mass;
  }
}

TEST(LogitFilters, TypicalPPrefersTheExpectedInformation) {
  // A sure token and many unlikely ones: the entropy is nearer to neither, then the filter must not drop everything.
  Candidates candidates;
  candidates.ids = {0, 1, 2};
  candidates.distances = {0, 1, 30};
  candidates.weights.resize(3);
  exp_weights(candidates.distances, candidates.weights);
  keep_typical_p(candidates, 0.3);
  EXPECT_EQ(candidates.ids, (std::vector<int32_t>{0}));
}

}  // namespace
}  // namespace graft::runtime
