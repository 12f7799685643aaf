#include <cmath>

#include "training/optimizers/newton_schulz.h"
#include "training/optimizers/optimizers.h"

namespace graft::training {
namespace {

Layout select(const std::vector<ParameterBlock>& blocks, bool matrices) {
  std::vector<ParameterBlock> chosen;
  for (const ParameterBlock& block : blocks) {
    if (block.matrix == matrices) chosen.push_back(block);
  }
  return Layout::compact(std::move(chosen));
}

class Muon final : public Optimizer {
 public:
  Muon(const MuonSettings& settings, const std::vector<ParameterBlock>& blocks)
      : settings_(settings),
        layout_(select(blocks, true)),
        vectors_(make_adamw({.weight_decay = settings.weight_decay}, select(blocks, false))),
        momentum_(layout_.state_elements()) {}

  std::vector<StateTensor> state() override {
    std::vector<StateTensor> tensors = {{"momentum", momentum_}};
    for (StateTensor& tensor : vectors_->state()) tensors.push_back(std::move(tensor));
    return tensors;
  }

 protected:
  void apply(const OptimizerInput& input, const RunTasks& run) override {
    vectors_->set_steps(steps() - 1);
    vectors_->step(input, run);
    run(static_cast<int64_t>(layout_.blocks().size()), [&](int64_t i) { step_block(static_cast<size_t>(i), input); });
  }

 private:
  [[nodiscard]] double rate_factor(const ParameterBlock& block) const {
    const auto rows = static_cast<double>(block.transposed ? block.columns : block.rows);
    const auto columns = static_cast<double>(block.transposed ? block.rows : block.columns);
    if (settings_.match_rms_adamw) return 0.2 * std::sqrt(std::max(rows, columns));
    return std::sqrt(std::max(1.0, rows / columns));
  }

  void step_block(size_t index, const OptimizerInput& input) {
    const ParameterBlock& block = layout_.blocks()[index];
    const auto n = static_cast<size_t>(block.elements());
    const auto scale = static_cast<float>(input.gradient_scale);
    const auto momentum = static_cast<float>(settings_.momentum);
    const auto rest = static_cast<float>(1 - settings_.momentum);
    const float* const gradients = input.gradients.data() + block.offset;
    float* const buffer = momentum_.data() + layout_.state_offset(index);
    std::vector<float> update(n);
    for (size_t i = 0; i < n; ++i) {
      const float g = gradients[i] * scale;
      buffer[i] += rest * (g - buffer[i]);
      update[i] = settings_.nesterov ? g + momentum * (buffer[i] - g) : buffer[i];
    }
    orthogonalise(update, block.rows, block.columns, settings_.ns_steps, settings_.eps);
    const double rate = input.learning_rate * block.learning_rate_scale;
    const float decay = decay_factor(rate, settings_.weight_decay, block);
    const auto step = static_cast<float>(rate * rate_factor(block));
    float* const p = input.parameters.data() + block.offset;
    for (size_t i = 0; i < n; ++i) p[i] = decay * p[i] - step * update[i];
  }

  MuonSettings settings_;
  Layout layout_;
  std::unique_ptr<Optimizer> vectors_;
  std::vector<float> momentum_;
};

}  // namespace

std::unique_ptr<Optimizer> make_muon(const MuonSettings& settings, const std::vector<ParameterBlock>& blocks) {
  return std::make_unique<Muon>(settings, blocks);
}

}  // namespace graft::training
