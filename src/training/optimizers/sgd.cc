#include "training/optimizers/optimizers.h"

namespace graft::training {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(const SgdSettings& settings, Layout layout)
      : settings_(settings),
        layout_(std::move(layout)),
        momentum_(settings.momentum > 0 ? layout_.state_elements() : 0) {}

  std::vector<StateTensor> state() override {
    if (momentum_.empty()) return {};
    return {{"momentum", momentum_}};
  }

 protected:
  void apply(const OptimizerInput& input, const RunTasks& run) override {
    const auto momentum = static_cast<float>(settings_.momentum);
    // The first step's momentum is its gradient, undamped.
    const auto share = static_cast<float>(steps() == 1 ? 1.0 : 1.0 - settings_.dampening);
    const auto scale = static_cast<float>(input.gradient_scale);
    layout_.for_each_piece(run, [&](const ParameterBlock& block, int64_t begin, int64_t end, int64_t state) {
      const auto step = static_cast<float>(input.learning_rate * block.learning_rate_scale);
      const auto decay = static_cast<float>(block.decays ? settings_.weight_decay : 0.0);
      float* const p = input.parameters.data() + begin;
      const float* const grad = input.gradients.data() + begin;
      float* const buffer = momentum_.empty() ? nullptr : momentum_.data() + state;
      for (int64_t i = 0; i < end - begin; ++i) {
        float g = grad[i] * scale + decay * p[i];
        if (buffer != nullptr) {
          buffer[i] = momentum * buffer[i] + share * g;
          g = settings_.nesterov ? g + momentum * buffer[i] : buffer[i];
        }
        p[i] -= step * g;
      }
    });
  }

 private:
  SgdSettings settings_;
  Layout layout_;
  std::vector<float> momentum_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const SgdSettings& settings, Layout layout) {
  return std::make_unique<Sgd>(settings, std::move(layout));
}

}  // namespace graft::training
