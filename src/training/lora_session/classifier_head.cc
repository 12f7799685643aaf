#include "training/lora_session/classifier_head.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

#include "base/philox.h"
#include "runtime/classification_head.h"

namespace graft::training {

namespace {

constexpr double kDeviation = 0.02;         // transformers' initializer_range, where a model does not say
constexpr uint64_t kStream = ~uint64_t{0};  // targets have the first ones

std::span<const float> row_of(const HeadRows& in, int64_t row) {
  return in.hidden.subspan(static_cast<size_t>(row * in.width), static_cast<size_t>(in.width));
}

// logits -> probabilities; returns the loss.
double softmax_loss(std::span<const float> logits, int32_t label, std::vector<double>& probabilities) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  probabilities.clear();
  for (const float logit : logits) sum += probabilities.emplace_back(std::exp(logit - most));
  for (double& p : probabilities) p /= sum;
  return std::log(sum) + most - logits[static_cast<size_t>(label)];
}

}  // namespace

std::vector<float> head_logits(const HeadRows& in) {
  std::vector<float> all;
  for (int64_t row = 0; row < in.rows(); ++row) {
    const std::vector<float> logits = runtime::head_logits(in.weight, {}, row_of(in, row));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

HeadLoss head_loss(const HeadRows& in, std::span<const int32_t> labels, double scale,
                   std::span<float> weight_gradient) {
  const bool with_gradient = !weight_gradient.empty();
  const auto width = static_cast<size_t>(in.width);
  HeadLoss loss;
  if (with_gradient) loss.hidden_gradient.resize(in.hidden.size());
  std::vector<double> probabilities;
  for (int64_t row = 0; row < in.rows(); ++row) {
    const int32_t label = labels[static_cast<size_t>(row)];
    if (label < 0 || label >= in.labels()) throw std::out_of_range("class " + std::to_string(label) + " is not there");
    const std::span<const float> hidden = row_of(in, row);
    loss.loss_sum += softmax_loss(runtime::head_logits(in.weight, {}, hidden), label, probabilities);
    if (!with_gradient) continue;
    float* hidden_gradient = loss.hidden_gradient.data() + static_cast<size_t>(row) * width;
    for (size_t c = 0; c < probabilities.size(); ++c) {
      const auto g = static_cast<float>(scale * (probabilities[c] - (static_cast<int32_t>(c) == label ? 1.0 : 0.0)));
      const float* weight = in.weight.data() + c * width;
      float* gradient = weight_gradient.data() + c * width;
      for (size_t i = 0; i < width; ++i) {
        gradient[i] += g * hidden[i];
        hidden_gradient[i] += g * weight[i];
      }
    }
  }
  return loss;
}

void initialise_head(std::span<float> weight, uint64_t seed) {
  PhiloxStream random(seed, kStream);
  for (float& value : weight) {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - random.next_double()));
    value = static_cast<float>(kDeviation * radius * std::cos(2.0 * std::numbers::pi * random.next_double()));
  }
}

}  // namespace graft::training
