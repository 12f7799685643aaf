#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace graft::runtime {

// Loops over one row of logits, [vocab]. They are compiled for several instruction sets and chosen at run time; every
// one gives the same bits, because each element is computed alike wherever it stands and sums have a fixed order.

struct Peak {
  float value = 0;
  size_t index = 0;     // the first one with that value
  bool finite = false;  // value is finite and nothing is NaN or +inf; -inf (a masked token) may be among the others
};
Peak find_peak(std::span<const float> logits);  // at least one element

// Which ids may be chosen: bit i % 32 of word i / 32. A row's mask has at least as many bits as the row has elements.
using TokenMask = std::span<const uint32_t>;
Peak find_peak(std::span<const float> logits, TokenMask mask);  // among the allowed ones; none: not finite
// out[i] = logits[i] where it is allowed, else -inf. `out` may be the logits themselves.
void apply_mask(std::span<const float> logits, TokenMask mask, std::span<float> out);

// sum of exp(logits - peak), each term in float, the sum in double. peak >= every element.
double sum_exp(std::span<const float> logits, float peak);

// distances[i] = (peak - logits[i]) / temperature, >= 0 and infinite for masked tokens.
void scale_distances(std::span<const float> logits, float peak, float temperature, std::span<float> distances);

// weights[i] = exp(-distances[i]), in [0, 1].
void exp_weights(std::span<const float> distances, std::span<float> weights);

bool any_below(std::span<const float> values, float limit);

double sum_double(std::span<const float> values);

}  // namespace graft::runtime
