#include "training/lora_session/adamw.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cpu/parallel.h"

namespace graft::training {

namespace {
constexpr int64_t kChunk = 1 << 16;
int64_t chunks(int64_t n) { return (n + kChunk - 1) / kChunk; }
}  // namespace

double gradient_norm(const float* gradients, int64_t n) {
  std::vector<double> sums(static_cast<size_t>(chunks(n)));
  ops::cpu::parallel_for(chunks(n), [&](int64_t c) {
    double sum = 0;
    for (int64_t i = c * kChunk; i < std::min(n, (c + 1) * kChunk); ++i) {
      sum += static_cast<double>(gradients[i]) * gradients[i];
    }
    sums[static_cast<size_t>(c)] = sum;
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

void adamw_step(const AdamWState& state, const AdamWParams& params, int64_t step, double gradient_scale) {
  const auto beta1 = static_cast<float>(params.beta1);
  const auto beta2 = static_cast<float>(params.beta2);
  const auto one_beta1 = static_cast<float>(1 - params.beta1);
  const auto one_beta2 = static_cast<float>(1 - params.beta2);
  const auto scale = static_cast<float>(gradient_scale);
  const auto decay = static_cast<float>(1 - params.learning_rate * params.weight_decay);
  const double correction1 = 1 - std::pow(params.beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(params.beta2, static_cast<double>(step));
  const auto step_size = static_cast<float>(params.learning_rate / correction1);
  const auto root = static_cast<float>(std::sqrt(correction2));
  const auto eps = static_cast<float>(params.eps);
  ops::cpu::parallel_for(chunks(state.n), [&](int64_t c) {
    for (int64_t i = c * kChunk; i < std::min(state.n, (c + 1) * kChunk); ++i) {
      const float g = state.gradients[i] * scale;
      const float m = beta1 * state.exp_avg[i] + one_beta1 * g;
      const float v = beta2 * state.exp_avg_sq[i] + one_beta2 * g * g;
      state.exp_avg[i] = m;
      state.exp_avg_sq[i] = v;
      state.parameters[i] = decay * state.parameters[i] - step_size * m / (std::sqrt(v) / root + eps);
    }
  });
}

}  // namespace graft::training
