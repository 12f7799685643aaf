#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

// Element-wise ways to merge tensors of one shape, as PEFT's merge_utils defines them. All arithmetic is float32.
namespace graft::formats {

enum class MergeMethod {
  kLinear,      // the weighted sum
  kCat,         // of LoRA factors only: side by side, which makes the merge the exact sum of the updates
  kTies,        // TIES (arXiv:2306.01708): keep the largest, elect a sign per element, average those that agree
  kDareLinear,  // DARE (arXiv:2311.03099): drop at random and rescale, then the weighted sum
  kDareTies,    // the same, then TIES' election and average
};

std::string_view merge_method_name(MergeMethod method);  // "linear", "cat", "ties", "dare_linear", "dare_ties"

enum class MajoritySign {
  kTotal,      // the sign of the sum
  kFrequency,  // of the sum of the signs: every tensor has one vote
};

struct TensorMerge {
  MergeMethod method = MergeMethod::kLinear;
  double density = 1;  // share of the elements that are kept, (0, 1]; 1 keeps all; not used by kLinear
  MajoritySign majority_sign = MajoritySign::kTotal;
  uint64_t seed = 0;  // of the DARE methods: what is dropped is a function of (seed, streams[i], element)
};

// Keeps the int(density * size) elements that are largest in magnitude (of equal ones the first), and zeroes the rest.
void keep_largest(std::span<float> values, double density);

// Keeps each element with probability `density` and divides it by that; element i by number i of the Philox stream.
void drop_at_random(std::span<float> values, double density, uint64_t seed, uint64_t stream);

// Merges tensors[i] by weights[i]; the tensors are used up. All have the same size; there is at least one. `streams`
// are the random streams of the DARE methods, one a tensor. Not for kCat.
std::vector<float> merge_tensors(std::vector<std::vector<float>> tensors, std::span<const float> weights,
                                 std::span<const uint64_t> streams, const TensorMerge& merge);

}  // namespace graft::formats
