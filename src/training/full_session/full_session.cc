#include "training/full_session/full_session.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <optional>

#include "formats/model_export.h"
#include "model/checkpointing.h"
#include "ops/cross_entropy.h"
#include "ops/rms_norm.h"
#include "runtime/executor/executor.h"
#include "training/full_session/full_state.h"
#include "training/full_session/full_weights.h"
#include "training/full_session/packed_adamw.h"
#include "training/guarded.h"
#include "training/session_batch.h"

namespace graft::training {

namespace {

// Matrices, then vectors.
Result<std::vector<ParameterBlock>> parameter_blocks(const FullWeights& weights, const Optimization& optimization) {
  std::vector<ParameterBlock> blocks;
  for (const auto* parameters : {&weights.matrices(), &weights.vectors()}) {
    for (const FullParameter& parameter : *parameters) {
      ParameterBlock block;
      block.name = parameter.name;
      block.rows = parameter.n;
      block.columns = parameter.k;
      blocks.push_back(std::move(block));
    }
  }
  GRAFT_CHECK_OK(exempt_from_decay(optimization.no_decay, blocks));
  return blocks;
}

Result<PackedAdamWSettings> optimizer_settings(const FullSettings& settings) {
  if (settings.optimization.ema_decay > 0) {
    return unsupported("training all weights: an average would be another copy of them; set trainer.ema_decay to 0");
  }
  PackedAdamWSettings out;
  out.seed = settings.seed;
  if (const auto* eight_bit = std::get_if<AdamW8bitSettings>(&settings.optimization.optimizer)) {
    out.adamw = eight_bit->adamw;
  } else if (const auto* adamw = std::get_if<AdamWSettings>(&settings.optimization.optimizer)) {
    out.adamw = *adamw;
    out.eight_bit = false;
  } else {
    return unsupported(fmt::format(
        "training all weights: the optimizer {} is not supported; set trainer.optimizer.type to adamw_8bit or adamw",
        optimizer_name(settings.optimization.optimizer)));
  }
  return out;
}

class FullSession final : public Session, private model::WeightGradients {
 public:
  FullSession(std::shared_ptr<const model::Decoder> base, model::Decoder decoder, FullSettings settings,
              FullWeights weights, const PackedAdamWSettings& optimizer, std::vector<ParameterBlock> blocks)
      : base_(std::move(base)),
        decoder_(std::make_shared<const model::Decoder>(std::move(decoder))),
        settings_(std::move(settings)),
        weights_(std::move(weights)),
        optimizer_(optimizer, weights_, std::move(blocks)) {}

  Status begin_step(const StepParams& params) override {
    if (params.max_grad_norm > 0) {
      return unsupported(
          "clipping by the norm of all gradients: they are applied before that is known; clip each parameter's "
          "(trainer.gradient_clipping.clipnorm), or none");
    }
    params_ = params;
    applied_ = false;
    squares_ = 0;
    optimizer_.begin_step(params.learning_rate);
    return {};
  }

  Result<LossSum> forward_backward(const PackedBatch& batch, double scale, uint64_t /*dropout_stream*/) override {
    if (!params_ || applied_) {
      return internal_error(
          "training all weights takes one forward and backward pass a step: gradients are applied at once");
    }
    return guarded("a training step", [&]() -> Result<LossSum> {
      GRAFT_CHECK_OK(check_batch(batch, decoder_->spec()));
      const LabelledRows labelled = labelled_rows(batch);
      if (labelled.rows.empty()) return LossSum{};
      applied_ = true;
      return train(batch, labelled, scale);
    });
  }

  Result<LossSum> evaluate(const PackedBatch& batch) override {
    return guarded("an evaluation", [&]() -> Result<LossSum> {
      GRAFT_TRY(const ops::CrossEntropy loss, score(batch));
      return LossSum{loss.loss_sum, static_cast<int64_t>(loss.losses.size())};
    });
  }

  Result<std::vector<float>> logprobs(const PackedBatch& batch) override {
    return guarded("scoring", [&]() -> Result<std::vector<float>> {
      GRAFT_TRY(const ops::CrossEntropy loss, score(batch));
      std::vector<float> out(batch.tokens.size(), std::numeric_limits<float>::quiet_NaN());
      const LabelledRows labelled = labelled_rows(batch);
      for (size_t i = 0; i < labelled.rows.size(); ++i) out[static_cast<size_t>(labelled.rows[i])] = -loss.losses[i];
      return out;
    });
  }

  Result<double> optim_step(const StepParams& /*params*/) override {
    if (!params_) return internal_error("a step that was not begun");
    params_.reset();
    if (std::isfinite(squares_)) optimizer_.end_step();
    return std::sqrt(squares_);
  }

  Status save_state(const std::string& directory) override { return save_full_state(directory, weights_, optimizer_); }
  Status load_state(const std::string& directory) override {
    params_.reset();
    return load_full_state(directory, weights_, optimizer_);
  }

  [[nodiscard]] bool is_full() const override { return true; }

  Status save_adapter(const std::string& directory) override {
    if (settings_.source == nullptr) return unsupported("this session has no source to take the other files from");
    return guarded("saving the model", [&]() -> Status {
      formats::ExportOptions options;
      options.type = decoder_->dtype() == at::kBFloat16 ? formats::ExportType::kBF16 : formats::ExportType::kF32;
      options.read = [this](const std::string& name) { return weights_.read(name); };
      GRAFT_TRY([[maybe_unused]] const auto summary,
                formats::export_safetensors(*settings_.source, directory, options));
      return {};
    });
  }

  Result<std::shared_ptr<const runtime::AdapterWeights>> snapshot() override {
    return std::shared_ptr<const runtime::AdapterWeights>();
  }
  Result<std::unique_ptr<runtime::StepModel>> step_model(int32_t kv_tokens) override {
    return runtime::make_executor(decoder_, {kv_tokens});
  }
  Result<std::unique_ptr<runtime::StepModel>> base_model(int32_t kv_tokens) override {
    return runtime::make_executor(base_, {kv_tokens});
  }

  [[nodiscard]] int64_t trainable_parameters() const override {
    int64_t count = 0;
    for (const auto* parameters : {&weights_.matrices(), &weights_.vectors()}) {
      for (const FullParameter& parameter : *parameters) count += parameter.parameters();
    }
    return count;
  }

 private:
  [[nodiscard]] static at::Tensor select(const at::Tensor& from, const std::vector<int64_t>& rows) {
    const at::Tensor index = at::from_blob(const_cast<int64_t*>(rows.data()), {static_cast<int64_t>(rows.size())},
                                           at::TensorOptions().dtype(at::kLong));
    return at::index_select(from, 0, index.clone());
  }

  Result<ops::CrossEntropy> score(const PackedBatch& batch) {
    const at::NoGradGuard no_grad;
    GRAFT_CHECK_OK(check_batch(batch, decoder_->spec()));
    const LabelledRows labelled = labelled_rows(batch);
    if (labelled.rows.empty()) return ops::CrossEntropy{};
    model::PackedContext context(batch.cu_seqlens);
    const at::Tensor residual = decoder_->forward(batch.tokens, context, {});
    const at::Tensor hidden = decoder_->final_norm(select(residual, labelled.rows));
    return ops::linear_cross_entropy(hidden, decoder_->weights().lm_head, labelled.labels, 1.0);
  }

  LossSum train(const PackedBatch& batch, const LabelledRows& labelled, double scale) {
    const at::Tensor embeddings = decoder_->embed(batch.tokens);
    model::PackedContext context(batch.cu_seqlens);
    ops::CrossEntropy loss;
    at::Tensor hidden;
    {
      const at::Tensor residual = layers(embeddings, batch, context);
      hidden = ops::trainable_rms_norm(select(residual, labelled.rows), decoder_->weights().final_norm,
                                       decoder_->spec().norm_eps, decoder_->dtype(),
                                       [this](const at::Tensor& gradient) { vector(weights_.final_norm(), gradient); });
      loss = ops::linear_cross_entropy(hidden, decoder_->weights().lm_head, labelled.labels, scale);
    }
    const LossSum sum{loss.loss_sum, static_cast<int64_t>(loss.losses.size())};
    if (!std::isfinite(sum.loss)) return sum;  // the caller ends the run: no weight has changed
    const ops::OutputGradient output{hidden.detach(), labelled.labels, loss.losses, scale};
    hidden.reset();
    const bool tied = weights_.lm_head() == FullWeights::embedding();
    if (!tied) table(weights_.lm_head(), decoder_->weights().lm_head, &output, nullptr);
    loss.loss.backward();
    const ops::InputGradient input{batch.tokens, embeddings.grad()};
    table(FullWeights::embedding(), decoder_->weights().embedding, tied ? &output : nullptr, &input);
    return sum;
  }

  at::Tensor layers(at::Tensor embeddings, const PackedBatch& batch, model::AttentionContext& context) {
    if (settings_.checkpointing) {
      return model::forward_checkpointed(*decoder_, std::move(embeddings), {batch.cu_seqlens, {}, this});
    }
    at::Tensor residual = std::move(embeddings);
    residual.requires_grad_(true);
    for (int64_t i = 0; i < decoder_->spec().num_layers; ++i) {
      residual = decoder_->trained_layer(i, residual, context, *this);
    }
    return residual;
  }

  void linear(int64_t layer, model::Linear which, const at::Tensor& x, const at::Tensor& dy) override {
    const ops::LinearWeight& weight = decoder_->weights().layers[static_cast<size_t>(layer)].linears[which];
    std::vector<size_t> matrices;
    for (size_t part = 0; part < weight.parts.size(); ++part) {
      matrices.push_back(FullWeights::matrix(layer, which, static_cast<int64_t>(part)));
    }
    update(matrices, [&](const ops::TakeGradient& take) { return ops::weight_gradient(x, dy, weight, take); });
  }

  void norm(int64_t layer, Norm which, const at::Tensor& gradient) override {
    vector(FullWeights::norm(layer, which == Norm::kMlp), gradient);
  }

  void table(size_t matrix, const ops::LinearWeight& weight, const ops::OutputGradient* output,
             const ops::InputGradient* input) {
    update({matrix},
           [&](const ops::TakeGradient& take) { return ops::vocabulary_gradient(weight, output, input, take); });
  }

  void vector(size_t index, const at::Tensor& gradient) {
    const std::span<const float> values(gradient.const_data_ptr<float>(), static_cast<size_t>(gradient.numel()));
    double squares = 0;
    for (const float g : values) squares += static_cast<double>(g) * g;
    squares_ += optimizer_.apply(index, values, clip_scale(squares));
  }

  [[nodiscard]] float clip_scale(double squares) const {
    const double norm = std::sqrt(squares);
    const double limit = params_->max_parameter_norm;
    return limit > 0 && norm > limit ? static_cast<float>(limit / (norm + 1e-6)) : 1.0F;
  }

  // pass(take): hands out the gradients of the matrices, the parts of a weight. With clipping it runs twice: a
  // matrix's norm is known when its last block is.
  template <class Pass>
  void update(const std::vector<size_t>& matrices, const Pass& pass) {
    std::vector<float> scales(matrices.size(), 1.0F);
    if (params_->max_parameter_norm > 0) {
      std::vector<std::vector<double>> sums;
      std::vector<size_t> across;
      for (const size_t matrix : matrices) {
        const FullParameter& place = weights_.matrices()[matrix];
        across.push_back(static_cast<size_t>((place.k + ops::kGradientColumns - 1) / ops::kGradientColumns));
        sums.emplace_back(across.back() * static_cast<size_t>((place.n + ops::kGradientRows - 1) / ops::kGradientRows));
      }
      pass([&](const ops::GradientBlock& block) {
        const auto part = static_cast<size_t>(block.part);
        const auto row = static_cast<size_t>(block.first_row / ops::kGradientRows);
        return sums[part][row * across[part] + static_cast<size_t>(block.first_column / ops::kGradientColumns)] =
                   sum_of_squares(block);
      });
      for (size_t part = 0; part < sums.size(); ++part) {
        double total = 0;
        for (const double sum : sums[part]) total += sum;
        if (!std::isfinite(total)) {
          squares_ += total;
          return;
        }
        scales[part] = clip_scale(total);
      }
    }
    squares_ += pass([&](const ops::GradientBlock& block) {
      const auto part = static_cast<size_t>(block.part);
      return optimizer_.apply(matrices[part], block, scales[part]);
    });
  }

  std::shared_ptr<const model::Decoder> base_, decoder_;  // as it was, and as it is: it reads weights_
  FullSettings settings_;
  FullWeights weights_;
  PackedAdamW optimizer_;
  std::optional<StepParams> params_;  // of the step at work
  bool applied_ = false;
  double squares_ = 0;  // of its gradients
};

}  // namespace

Result<std::unique_ptr<Session>> make_full_session(std::shared_ptr<const model::Decoder> decoder,
                                                   const FullSettings& settings) {
  return guarded("setting up the weights", [&]() -> Result<std::unique_ptr<Session>> {
    GRAFT_TRY(const PackedAdamWSettings optimizer, optimizer_settings(settings));
    GRAFT_TRY(FullWeights weights, FullWeights::copy_of(decoder->weights(), decoder->spec()));
    GRAFT_TRY(std::vector<ParameterBlock> blocks, parameter_blocks(weights, settings.optimization));
    GRAFT_TRY(model::Decoder trained, model::Decoder::create(decoder->spec(), weights.weights()));
    return std::unique_ptr<Session>(std::make_unique<FullSession>(decoder, std::move(trained), settings,
                                                                  std::move(weights), optimizer, std::move(blocks)));
  });
}

}  // namespace graft::training
