#include "training/optimizers/optimizers.h"

namespace graft::training {
namespace {

class Lion final : public Optimizer {
 public:
  Lion(const LionSettings& settings, Layout layout)
      : settings_(settings), layout_(std::move(layout)), exp_avg_(layout_.state_elements()) {}

  std::vector<StateTensor> state() override { return {{"exp_avg", exp_avg_}}; }

 protected:
  void apply(const OptimizerInput& input, const RunTasks& run) override {
    const auto beta1 = static_cast<float>(settings_.beta1);
    const auto beta2 = static_cast<float>(settings_.beta2);
    const auto one_beta1 = static_cast<float>(1 - settings_.beta1);
    const auto one_beta2 = static_cast<float>(1 - settings_.beta2);
    const auto scale = static_cast<float>(input.gradient_scale);
    layout_.for_each_piece(run, [&](const ParameterBlock& block, int64_t begin, int64_t end, int64_t state) {
      const double rate = input.learning_rate * block.learning_rate_scale;
      const float decay = decay_factor(rate, settings_.weight_decay, block);
      const auto step = static_cast<float>(rate);
      float* const p = input.parameters.data() + begin;
      const float* const grad = input.gradients.data() + begin;
      float* const exp_avg = exp_avg_.data() + state;
      for (int64_t i = 0; i < end - begin; ++i) {
        const float g = grad[i] * scale;
        const float mixed = beta1 * exp_avg[i] + one_beta1 * g;
        const float sign = static_cast<float>(mixed > 0) - static_cast<float>(mixed < 0);
        p[i] = decay * p[i] - step * sign;
        exp_avg[i] = beta2 * exp_avg[i] + one_beta2 * g;
      }
    });
  }

 private:
  LionSettings settings_;
  Layout layout_;
  std::vector<float> exp_avg_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lion(const LionSettings& settings, Layout layout) {
  return std::make_unique<Lion>(settings, std::move(layout));
}

}  // namespace graft::training
