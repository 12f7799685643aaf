#include <array>
#include <cmath>

#include "training/optimizers/dynamic_code.h"
#include "training/optimizers/optimizers.h"

namespace graft::training {
namespace {

constexpr int64_t kBlock = 256;

Layout select(const std::vector<ParameterBlock>& blocks, int64_t min_8bit_size, bool large) {
  std::vector<ParameterBlock> chosen;
  for (const ParameterBlock& block : blocks) {
    if ((block.elements() >= min_8bit_size) == large) chosen.push_back(block);
  }
  return Layout::compact(std::move(chosen));
}

// The codes of a block of parameters are cut into runs of 256 from its beginning on, the last one maybe shorter. Each
// run has a scale of its own.
class AdamW8bit final : public Optimizer {
 public:
  AdamW8bit(const AdamW8bitSettings& settings, const std::vector<ParameterBlock>& blocks)
      : settings_(settings.adamw),
        layout_(select(blocks, settings.min_8bit_size, true)),
        small_(make_adamw(settings.adamw, select(blocks, settings.min_8bit_size, false))),
        exp_avg_(layout_.state_elements(), zero(DynamicCode::of_signed())),
        exp_avg_sq_(layout_.state_elements(), zero(DynamicCode::of_unsigned())) {
    size_t runs = 0;
    for (const ParameterBlock& block : layout_.blocks()) {
      first_run_.push_back(static_cast<int64_t>(runs));
      runs += static_cast<size_t>((block.elements() + kBlock - 1) / kBlock);
    }
    exp_avg_scale_.resize(runs);
    exp_avg_sq_scale_.resize(runs);
  }

  std::vector<StateTensor> state() override {
    std::vector<StateTensor> tensors = {{"exp_avg_8bit", exp_avg_},
                                        {"exp_avg_scale", exp_avg_scale_},
                                        {"exp_avg_sq_8bit", exp_avg_sq_},
                                        {"exp_avg_sq_scale", exp_avg_sq_scale_}};
    for (StateTensor& tensor : small_->state()) tensors.push_back(std::move(tensor));
    return tensors;
  }

 protected:
  void apply(const OptimizerInput& input, const RunTasks& run) override {
    small_->set_steps(steps() - 1);
    small_->step(input, run);
    layout_.for_each_piece(run, [&](const ParameterBlock& block, int64_t begin, int64_t end, int64_t state) {
      const AdamWStep k(settings_, block, input, steps());
      const auto index = static_cast<size_t>(&block - layout_.blocks().data());
      int64_t at = first_run_[index] + (begin - block.offset) / kBlock;
      for (int64_t first = begin; first < end; first += kBlock, ++at) {
        const int64_t n = std::min(kBlock, end - first);
        step_run(k, input, first, n, state + (first - begin), static_cast<size_t>(at));
      }
    });
  }

 private:
  static uint8_t zero(const DynamicCode& code) {
    return static_cast<uint8_t>(std::find(code.values().begin(), code.values().end(), 0.0F) - code.values().begin());
  }

  void step_run(const AdamWStep& k, const OptimizerInput& input, int64_t first, int64_t n, int64_t state, size_t run) {
    std::array<float, kBlock> m;
    std::array<float, kBlock> v;
    uint8_t* const m_codes = exp_avg_.data() + state;
    uint8_t* const v_codes = exp_avg_sq_.data() + state;
    const auto count = static_cast<size_t>(n);
    DynamicCode::of_signed().decode({m_codes, count}, exp_avg_scale_[run], m.data());
    DynamicCode::of_unsigned().decode({v_codes, count}, exp_avg_sq_scale_[run], v.data());
    float* const p = input.parameters.data() + first;
    const float* const grad = input.gradients.data() + first;
    for (size_t i = 0; i < count; ++i) {
      const float g = grad[i] * k.scale;
      m[i] = k.beta1 * m[i] + k.one_beta1 * g;
      v[i] = k.beta2 * v[i] + k.one_beta2 * g * g;
      p[i] = k.decay * p[i] - k.step_size * m[i] / (std::sqrt(v[i]) / k.root + k.eps);
    }
    exp_avg_scale_[run] = DynamicCode::of_signed().encode({m.data(), count}, m_codes);
    exp_avg_sq_scale_[run] = DynamicCode::of_unsigned().encode({v.data(), count}, v_codes);
  }

  AdamWSettings settings_;
  Layout layout_;
  std::unique_ptr<Optimizer> small_;
  std::vector<uint8_t> exp_avg_, exp_avg_sq_;
  std::vector<float> exp_avg_scale_, exp_avg_sq_scale_;
  std::vector<int64_t> first_run_;  // of each block
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw_8bit(const AdamW8bitSettings& settings, std::vector<ParameterBlock> blocks) {
  return std::make_unique<AdamW8bit>(settings, blocks);
}

}  // namespace graft::training
