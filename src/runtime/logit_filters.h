#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace graft::runtime {

// The tokens still in the running, by ascending id. distance = (largest logit - logit) / temperature, so that a token's
// weight is exp(-distance); weights are not normalised.
struct Candidates {
  std::vector<int32_t> ids;
  std::vector<float> distances;
  std::vector<float> weights;

  [[nodiscard]] size_t size() const { return ids.size(); }
};

// Ids of the `count` smallest keys, smallest first, equal keys by ascending id. NaN keys are not allowed.
std::vector<int32_t> smallest(std::span<const float> keys, size_t count);

// The filters of transformers' LogitsWarpers of the same names.
void keep_top_k(Candidates& candidates, int32_t k);        // with everything that equals the k-th
void keep_top_p(Candidates& candidates, double mass);      // shortest prefix of the ranking with that much probability
void keep_typical_p(Candidates& candidates, double mass);  // nearest to the expected information content first

}  // namespace graft::runtime
