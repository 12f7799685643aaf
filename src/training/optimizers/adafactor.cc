#include <cmath>

#include "training/optimizers/optimizers.h"

namespace graft::training {
namespace {

// A task is a whole block: its row and column means, and the root mean square of its update, need all of it.
class Adafactor final : public Optimizer {
 public:
  Adafactor(const AdafactorSettings& settings, Layout layout)
      : settings_(settings), layout_(std::move(layout)), exp_avg_(settings.beta1 ? layout_.state_elements() : 0) {
    size_t rows = 0;
    size_t columns = 0;
    for (const ParameterBlock& block : layout_.blocks()) {
      first_row_.push_back(rows);
      first_column_.push_back(columns);
      rows += block.matrix ? static_cast<size_t>(block.rows) : 0;
      columns += static_cast<size_t>(block.columns);  // of a vector: its own second moments
    }
    row_.resize(rows);
    column_.resize(columns);
  }

  std::vector<StateTensor> state() override {
    std::vector<StateTensor> tensors = {{"exp_avg_sq_row", row_}, {"exp_avg_sq_col", column_}};
    if (!exp_avg_.empty()) tensors.push_back({"exp_avg", exp_avg_});
    return tensors;
  }

 protected:
  void apply(const OptimizerInput& input, const RunTasks& run) override {
    run(static_cast<int64_t>(layout_.blocks().size()),
        [&](int64_t block) { step_block(static_cast<size_t>(block), input); });
  }

 private:
  [[nodiscard]] float keep() const {
    return static_cast<float>(1.0 - std::pow(static_cast<double>(steps()), settings_.decay_rate));
  }
  [[nodiscard]] float take() const {
    return static_cast<float>(std::pow(static_cast<double>(steps()), settings_.decay_rate));
  }

  // Moving averages of the squares' means over rows and columns.
  void update_factors(size_t index, const std::vector<float>& g) {
    const ParameterBlock& block = layout_.blocks()[index];
    const auto rows = static_cast<size_t>(block.rows);
    const auto columns = static_cast<size_t>(block.columns);
    std::vector<double> column_sums(columns);
    const double eps = settings_.eps;
    for (size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (size_t c = 0; c < columns; ++c) {
        const double square = static_cast<double>(g[r * columns + c]) * g[r * columns + c] + eps;
        sum += square;
        column_sums[c] += square;
      }
      if (!block.matrix) continue;
      float& average = row_[first_row_[index] + r];
      average = keep() * average + take() * static_cast<float>(sum / static_cast<double>(columns));
    }
    for (size_t c = 0; c < columns; ++c) {
      float& average = column_[first_column_[index] + c];
      average = keep() * average + take() * static_cast<float>(column_sums[c] / static_cast<double>(rows));
    }
  }

  // g becomes g / sqrt(second moment), no larger than the threshold in its root mean square.
  void precondition(size_t index, std::vector<float>& g) const {
    const ParameterBlock& block = layout_.blocks()[index];
    const auto rows = static_cast<size_t>(block.rows);
    const auto columns = static_cast<size_t>(block.columns);
    double mean = 0;
    for (size_t r = 0; block.matrix && r < rows; ++r) mean += static_cast<double>(row_[first_row_[index] + r]);
    mean /= static_cast<double>(rows);
    double squares = 0;
    for (size_t r = 0; r < rows; ++r) {
      const double row_share = block.matrix ? static_cast<double>(row_[first_row_[index] + r]) / mean : 1.0;
      const auto row_factor = static_cast<float>(1.0 / std::sqrt(row_share));
      for (size_t c = 0; c < columns; ++c) {
        const float column_factor = 1.0F / std::sqrt(column_[first_column_[index] + c]);
        float& update = g[r * columns + c];
        update = row_factor * column_factor * update;
        squares += static_cast<double>(update) * update;
      }
    }
    const double rms = std::sqrt(squares / static_cast<double>(rows * columns));
    const auto divisor = static_cast<float>(std::max(1.0, rms / settings_.clip_threshold));
    for (float& update : g) update /= divisor;
  }

  void step_block(size_t index, const OptimizerInput& input) {
    const ParameterBlock& block = layout_.blocks()[index];
    const auto n = static_cast<size_t>(block.elements());
    const auto scale = static_cast<float>(input.gradient_scale);
    const float* const gradients = input.gradients.data() + block.offset;
    std::vector<float> g(n);
    for (size_t i = 0; i < n; ++i) g[i] = gradients[i] * scale;
    update_factors(index, g);
    precondition(index, g);

    const double rate = input.learning_rate * block.learning_rate_scale;
    const float decay = decay_factor(rate, settings_.weight_decay, block);
    const auto step = static_cast<float>(rate);
    float* const exp_avg = exp_avg_.empty() ? nullptr : exp_avg_.data() + layout_.state_offset(index);
    const auto beta1 = static_cast<float>(settings_.beta1.value_or(0));
    const auto one_beta1 = static_cast<float>(1 - settings_.beta1.value_or(0));
    float* const p = input.parameters.data() + block.offset;
    for (size_t i = 0; i < n; ++i) {
      float update = step * g[i];
      if (exp_avg != nullptr) update = exp_avg[i] = beta1 * exp_avg[i] + one_beta1 * update;
      p[i] = decay * p[i] - update;
    }
  }

  AdafactorSettings settings_;
  Layout layout_;
  std::vector<float> exp_avg_, row_, column_;
  std::vector<size_t> first_row_, first_column_;  // of each block
};

}  // namespace

std::unique_ptr<Optimizer> make_adafactor(const AdafactorSettings& settings, Layout layout) {
  return std::make_unique<Adafactor>(settings, std::move(layout));
}

}  // namespace graft::training
