#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace graft::runtime {

// A linear layer on the hidden states of a decoder, as transformers' ForSequenceClassification (of a text's last token)
// and ForTokenClassification (of every token) have it.
struct ClassificationHead {
  enum class Kind { kSequence, kToken };
  Kind kind = Kind::kSequence;
  std::vector<std::string> labels;
  std::vector<float> weight;  // [labels, hidden]
  std::vector<float> bias;    // [labels], or empty
};

// Logits [labels] of one row; weight [labels, hidden], bias [labels] or empty. Sums run in a fixed order: the same bits
// whatever else is computed, in training as in serving.
inline std::vector<float> head_logits(std::span<const float> weight, std::span<const float> bias,
                                      std::span<const float> hidden) {
  std::vector<float> logits(weight.size() / hidden.size());
  for (size_t label = 0; label < logits.size(); ++label) {
    const float* row = weight.data() + label * hidden.size();
    double sum = bias.empty() ? 0.0 : bias[label];
    for (size_t i = 0; i < hidden.size(); ++i) sum += static_cast<double>(row[i]) * hidden[i];
    logits[label] = static_cast<float>(sum);
  }
  return logits;
}

inline std::vector<float> apply_head(const ClassificationHead& head, std::span<const float> hidden) {
  return head_logits(head.weight, head.bias, hidden);
}

}  // namespace graft::runtime
