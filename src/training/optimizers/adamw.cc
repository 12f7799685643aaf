#include <cmath>

#include "training/optimizers/optimizers.h"

namespace graft::training {
namespace {

class AdamW final : public Optimizer {
 public:
  AdamW(const AdamWSettings& settings, Layout layout)
      : settings_(settings),
        layout_(std::move(layout)),
        exp_avg_(layout_.state_elements()),
        exp_avg_sq_(layout_.state_elements()) {}

  std::vector<StateTensor> state() override { return {{"exp_avg", exp_avg_}, {"exp_avg_sq", exp_avg_sq_}}; }

 protected:
  void apply(const OptimizerInput& input, const RunTasks& run) override {
    layout_.for_each_piece(run, [&](const ParameterBlock& block, int64_t begin, int64_t end, int64_t state) {
      const AdamWStep k(settings_, block, input, steps());
      float* const p = input.parameters.data() + begin;
      const float* const grad = input.gradients.data() + begin;
      float* const exp_avg = exp_avg_.data() + state;
      float* const exp_avg_sq = exp_avg_sq_.data() + state;
      for (int64_t i = 0; i < end - begin; ++i) {
        const float g = grad[i] * k.scale;
        const float m = k.beta1 * exp_avg[i] + k.one_beta1 * g;
        const float v = k.beta2 * exp_avg_sq[i] + k.one_beta2 * g * g;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        p[i] = k.decay * p[i] - k.step_size * m / (std::sqrt(v) / k.root + k.eps);
      }
    });
  }

 private:
  AdamWSettings settings_;
  Layout layout_;
  std::vector<float> exp_avg_, exp_avg_sq_;
};

}  // namespace

AdamWStep::AdamWStep(const AdamWSettings& settings, const ParameterBlock& block, const OptimizerInput& input,
                     int64_t step) {
  const double rate = input.learning_rate * block.learning_rate_scale;
  beta1 = static_cast<float>(settings.beta1);
  beta2 = static_cast<float>(settings.beta2);
  one_beta1 = static_cast<float>(1 - settings.beta1);
  one_beta2 = static_cast<float>(1 - settings.beta2);
  scale = static_cast<float>(input.gradient_scale);
  decay = decay_factor(rate, settings.weight_decay, block);
  step_size = static_cast<float>(rate / (1 - std::pow(settings.beta1, static_cast<double>(step))));
  root = static_cast<float>(std::sqrt(1 - std::pow(settings.beta2, static_cast<double>(step))));
  eps = static_cast<float>(settings.eps);
}

std::unique_ptr<Optimizer> make_adamw(const AdamWSettings& settings, Layout layout) {
  return std::make_unique<AdamW>(settings, std::move(layout));
}

}  // namespace graft::training
