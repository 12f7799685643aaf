#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace graft::training {

// A classifier's objective, as transformers' ForSequenceClassification has it: cross-entropy of a linear layer without
// bias on the last token's hidden state.
struct HeadRows {
  std::span<const float> weight;  // [labels, width], the masters
  std::span<const float> hidden;  // [rows, width]
  int64_t width = 0;

  [[nodiscard]] int64_t rows() const { return static_cast<int64_t>(hidden.size()) / width; }
  [[nodiscard]] int64_t labels() const { return static_cast<int64_t>(weight.size()) / width; }
};

std::vector<float> head_logits(const HeadRows& in);  // [rows * labels]

struct HeadLoss {
  double loss_sum = 0;                 // of all rows, in nats
  std::vector<float> hidden_gradient;  // [rows, width], of scale * loss_sum; empty where no gradient was asked for
};

// `labels` [rows]: classes. Where `weight_gradient` [labels, width] is not empty, the gradients of scale * loss_sum are
// computed, and the weight's is added to it. Errors of the caller's, such as a class that there is not, throw.
HeadLoss head_loss(const HeadRows& in, std::span<const int32_t> labels, double scale, std::span<float> weight_gradient);

// Normal, a function of the seed.
void initialise_head(std::span<float> weight, uint64_t seed);

}  // namespace graft::training
