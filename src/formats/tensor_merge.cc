#include "formats/tensor_merge.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "base/philox.h"

namespace graft::formats {
namespace {

void prune(std::vector<float>& values, uint64_t stream, const TensorMerge& merge) {
  if (merge.method == MergeMethod::kTies) keep_largest(values, merge.density);
  if (merge.method == MergeMethod::kDareLinear || merge.method == MergeMethod::kDareTies) {
    drop_at_random(values, merge.density, merge.seed, stream);
  }
}

std::vector<float> weighted_sum(const std::vector<std::vector<float>>& tensors, std::span<const float> weights) {
  std::vector<float> sum(tensors.front().size(), 0.0F);
  for (size_t t = 0; t < tensors.size(); ++t) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += tensors[t][i] * weights[t];
  }
  return sum;
}

float sign(float value) { return value > 0 ? 1.0F : value < 0 ? -1.0F : 0.0F; }

// The sign that most agree on for element i; +1 where nobody leads.
float elected_sign(const std::vector<std::vector<float>>& tensors, size_t i, MajoritySign method) {
  float votes = 0;
  for (const auto& tensor : tensors) votes += method == MajoritySign::kTotal ? tensor[i] : sign(tensor[i]);
  return votes >= 0 ? 1.0F : -1.0F;
}

// The mean of the weighted values whose own sign is the elected one; zeros have none, and do not count.
std::vector<float> disjoint_mean(const std::vector<std::vector<float>>& tensors, std::span<const float> weights,
                                 MajoritySign method) {
  std::vector<float> mean(tensors.front().size());
  for (size_t i = 0; i < mean.size(); ++i) {
    const float elected = elected_sign(tensors, i, method);
    float sum = 0;
    float count = 0;
    for (size_t t = 0; t < tensors.size(); ++t) {
      if (sign(tensors[t][i]) != elected) continue;
      sum += tensors[t][i] * weights[t];
      ++count;
    }
    mean[i] = sum / std::max(count, 1.0F);
  }
  return mean;
}

}  // namespace

std::string_view merge_method_name(MergeMethod method) {
  switch (method) {
    case MergeMethod::kLinear:
      return "linear";
    case MergeMethod::kCat:
      return "cat";
    case MergeMethod::kTies:
      return "ties";
    case MergeMethod::kDareLinear:
      return "dare_linear";
    case MergeMethod::kDareTies:
      break;
  }
  return "dare_ties";
}

void keep_largest(std::span<float> values, double density) {
  if (density >= 1) return;
  const auto keep = static_cast<size_t>(std::max(0.0, density) * static_cast<double>(values.size()));
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto larger = [&](uint32_t a, uint32_t b) {
    const float x = std::fabs(values[a]);
    const float y = std::fabs(values[b]);
    return x != y ? x > y : a < b;
  };
  const auto cut = order.begin() + static_cast<std::ptrdiff_t>(keep);
  if (cut != order.end()) std::nth_element(order.begin(), cut, order.end(), larger);
  std::for_each(cut, order.end(), [&](uint32_t index) { values[index] = 0; });
}

void drop_at_random(std::span<float> values, double density, uint64_t seed, uint64_t stream) {
  if (density >= 1) return;
  PhiloxStream random(seed, stream);
  const auto divisor = static_cast<float>(density);
  for (float& value : values) {
    const bool kept = static_cast<double>(random.next_u32()) * 0x1p-32 < density;
    value = kept ? value / divisor : 0.0F;
  }
}

std::vector<float> merge_tensors(std::vector<std::vector<float>> tensors, std::span<const float> weights,
                                 std::span<const uint64_t> streams, const TensorMerge& merge) {
  for (size_t t = 0; t < tensors.size(); ++t) prune(tensors[t], streams[t], merge);
  const bool elects = merge.method == MergeMethod::kTies || merge.method == MergeMethod::kDareTies;
  return elects ? disjoint_mean(tensors, weights, merge.majority_sign) : weighted_sum(tensors, weights);
}

}  // namespace graft::formats
