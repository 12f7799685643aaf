#include "training/lora_session/lora_session.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>

#include <limits>
#include <optional>

#include "model/checkpointing.h"
#include "model/dora.h"
#include "model/peft.h"
#include "ops/cross_entropy.h"
#include "runtime/executor/executor.h"
#include "training/guarded.h"
#include "training/lora_session/adapter_files.h"
#include "training/lora_session/classifier_head.h"
#include "training/lora_session/neftune.h"
#include "training/lora_session/pissa.h"
#include "training/session_batch.h"

namespace graft::training {

namespace {

class LoraSession : public Session {
 public:
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<const model::Decoder> decoder,
                                                 SessionSettings settings, model::Adapter adapter) {
    auto session =
        std::unique_ptr<LoraSession>(new LoraSession(std::move(decoder), std::move(settings), std::move(adapter)));
    GRAFT_TRY(Updater updater, make_updater(session->adapter_, session->decoder_->spec(), session->settings_));
    session->updater_.emplace(std::move(updater));
    return std::unique_ptr<Session>(std::move(session));
  }

  Result<LossSum> forward_backward(const PackedBatch& batch, double scale, uint64_t dropout_stream) override {
    return guarded("a training step", [&]() -> Result<LossSum> {
      show_trained();
      adapter_.set_dropout(static_cast<float>(settings_.peft.lora_dropout), dropout_stream);
      const Noise noise{settings_.neftune_noise_alpha, dropout_stream};
      if (classifies()) return classifier_pass(batch, scale, &noise);
      GRAFT_TRY(const ops::CrossEntropy loss, run(batch, scale, &noise));
      if (loss.loss.requires_grad()) loss.loss.backward();
      return LossSum{loss.loss_sum, static_cast<int64_t>(loss.losses.size())};
    });
  }

  Result<LossSum> evaluate(const PackedBatch& batch) override {
    return guarded("an evaluation", [&]() -> Result<LossSum> {
      const at::NoGradGuard no_grad;
      show_average();
      adapter_.set_dropout(0, 0);
      if (classifies()) return classifier_pass(batch, 1.0, nullptr);
      GRAFT_TRY(const ops::CrossEntropy loss, run(batch, 1.0, nullptr));
      return LossSum{loss.loss_sum, static_cast<int64_t>(loss.losses.size())};
    });
  }

  Result<std::vector<float>> logprobs(const PackedBatch& batch) override {
    return guarded("scoring", [&]() -> Result<std::vector<float>> {
      const at::NoGradGuard no_grad;
      show_average();
      adapter_.set_dropout(0, 0);
      GRAFT_TRY(const ops::CrossEntropy loss, run(batch, 1.0, nullptr));
      std::vector<float> out(batch.tokens.size(), std::numeric_limits<float>::quiet_NaN());
      const LabelledRows labelled = labelled_rows(batch);
      for (size_t i = 0; i < labelled.rows.size(); ++i) {
        out[static_cast<size_t>(labelled.rows[i])] = -loss.losses[i];
      }
      return out;
    });
  }

  Result<std::vector<float>> classify(const PackedBatch& batch) override {
    if (!classifies()) return unsupported("this session has no classification head");
    return guarded("classifying", [&]() -> Result<std::vector<float>> {
      const at::NoGradGuard no_grad;
      GRAFT_CHECK_OK(check_batch(batch, decoder_->spec()));
      show_average();
      adapter_.set_dropout(0, 0);
      std::vector<int64_t> last;
      for (size_t i = 1; i < batch.cu_seqlens.size(); ++i) last.push_back(batch.cu_seqlens[i] - 1);
      const at::Tensor hidden = hidden_rows(batch, last, nullptr).to(at::kFloat);
      return head_logits(head_rows(hidden));
    });
  }

  Result<double> optim_step(const StepParams& params) override {
    for (const FrozenRange& frozen : frozen_) adapter_.gradients().slice(0, frozen.begin, frozen.end).zero_();
    const double norm = updater_->step(params);
    refresh();
    return norm;
  }

  Status save_state(const std::string& directory) override {
    show_trained();
    return updater_->save(directory);
  }

  Status load_state(const std::string& directory) override {
    Status loaded = updater_->load(directory);
    refresh();
    return loaded;
  }

  Status save_adapter(const std::string& directory) override {
    show_average();
    return guarded("saving the adapter", [&] {
      const formats::HeadFactors head{adapter_.extra(), {}, settings_.labels};
      return model::write_peft(directory, settings_.peft, decoder_->spec(), adapter_, classifies() ? &head : nullptr);
    });
  }

  Result<std::shared_ptr<const runtime::AdapterWeights>> snapshot() override {
    return guarded("a snapshot of the adapter", [&]() -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
      show_average();
      model::Adapter copy(decoder_->spec(), adapter_.targets(), decoder_->dtype(), false, adapter_.kind());
      copy.masters().copy_(adapter_.masters().narrow(0, 0, copy.masters().numel()));
      model::refresh_norms(copy, decoder_->weights());
      copy.repack();
      copy.drop_masters();
      return std::shared_ptr<const runtime::AdapterWeights>(
          std::make_shared<runtime::LoadedAdapter>(std::move(copy), head_snapshot()));
    });
  }

  Result<std::unique_ptr<runtime::StepModel>> step_model(int32_t kv_tokens) override {
    return runtime::make_executor(decoder_, {kv_tokens});
  }

  [[nodiscard]] int64_t trainable_parameters() const override {
    int64_t count = adapter_.parameters() + head_parameters(settings_, decoder_->spec());
    for (const FrozenRange& frozen : frozen_) count -= frozen.end - frozen.begin;
    return count;
  }

 private:
  // What NEFTune adds in a training pass.
  struct Noise {
    double alpha = 0;
    uint64_t stream = 0;
  };

  LoraSession(std::shared_ptr<const model::Decoder> decoder, SessionSettings settings, model::Adapter adapter)
      : decoder_(std::move(decoder)), settings_(std::move(settings)), adapter_(std::move(adapter)) {
    if (settings_.pissa) frozen_ = frozen_halves(adapter_);
    adapter_.repack();
  }

  [[nodiscard]] bool classifies() const { return !settings_.labels.empty(); }

  [[nodiscard]] HeadRows head_rows(const at::Tensor& hidden) {
    return {adapter_.extra(),
            {hidden.const_data_ptr<float>(), static_cast<size_t>(hidden.numel())},
            decoder_->spec().hidden_size};
  }

  std::optional<runtime::ClassificationHead> head_snapshot() {
    if (!classifies()) return std::nullopt;
    const std::span<const float> weight = adapter_.extra();
    runtime::ClassificationHead head;
    head.labels = settings_.labels;
    head.weight.assign(weight.begin(), weight.end());
    return head;
  }

  void show_trained() {
    if (updater_->show_trained()) refresh();
  }
  void show_average() {
    if (updater_->show_average()) refresh();
  }

  // The masters have changed.
  void refresh() {
    model::refresh_norms(adapter_, decoder_->weights());
    adapter_.repack();
  }

  // What the output layer, or the head, reads for some rows of the batch: [rows, hidden] of the model's dtype. With
  // `noise` it is a training pass, and gradients are recorded.
  at::Tensor hidden_rows(const PackedBatch& batch, const std::vector<int64_t>& rows, const Noise* noise) {
    model::PackedContext context(batch.cu_seqlens);
    const model::AdapterSegment segment{0, static_cast<int64_t>(batch.tokens.size()), &adapter_};
    at::Tensor embeddings = decoder_->embed(batch.tokens);
    if (noise != nullptr && noise->alpha > 0) {
      add_embedding_noise({embeddings.mutable_data_ptr<float>(), static_cast<size_t>(embeddings.numel())},
                          batch.cu_seqlens, noise->alpha, noise->stream);
    }
    const at::Tensor residual =
        noise != nullptr && settings_.checkpointing
            ? model::forward_checkpointed(*decoder_, std::move(embeddings), {batch.cu_seqlens, {segment}})
            : decoder_->forward_embedded(std::move(embeddings), context, {&segment, 1}, noise != nullptr);
    const at::Tensor index = at::from_blob(const_cast<int64_t*>(rows.data()), {static_cast<int64_t>(rows.size())},
                                           at::TensorOptions().dtype(at::kLong))
                                 .clone();
    return decoder_->final_norm(at::index_select(residual, 0, index));
  }

  Result<ops::CrossEntropy> run(const PackedBatch& batch, double scale, const Noise* noise) {
    GRAFT_CHECK_OK(check_batch(batch, decoder_->spec()));
    const LabelledRows labelled = labelled_rows(batch);
    if (labelled.rows.empty()) return ops::CrossEntropy{};
    const at::Tensor hidden = hidden_rows(batch, labelled.rows, noise);
    return ops::linear_cross_entropy(hidden, decoder_->weights().lm_head, labelled.labels, scale);
  }

  // With `noise` a training pass: gradients are accumulated.
  Result<LossSum> classifier_pass(const PackedBatch& batch, double scale, const Noise* noise) {
    GRAFT_CHECK_OK(check_batch(batch, decoder_->spec()));
    const LabelledRows labelled = labelled_rows(batch);
    if (labelled.rows.empty()) return LossSum{};
    const at::Tensor hidden = hidden_rows(batch, labelled.rows, noise);
    const at::Tensor values = hidden.detach().to(at::kFloat).contiguous();
    const bool training = noise != nullptr;
    HeadLoss loss =
        head_loss(head_rows(values), labelled.labels, scale, training ? adapter_.extra_gradient() : std::span<float>());
    if (training && hidden.requires_grad()) {
      hidden.backward(at::from_blob(loss.hidden_gradient.data(), values.sizes(), values.options()).to(hidden.dtype()));
    }
    return LossSum{loss.loss_sum, static_cast<int64_t>(labelled.rows.size())};
  }

  std::shared_ptr<const model::Decoder> decoder_;
  SessionSettings settings_;
  model::Adapter adapter_;           // with the head behind its factors
  std::vector<FrozenRange> frozen_;  // of a PiSSA
  std::optional<Updater> updater_;   // over the adapter's masters and gradients
};

}  // namespace

Result<std::unique_ptr<Session>> make_lora_session(std::shared_ptr<const model::Decoder> decoder,
                                                   const SessionSettings& settings) {
  return guarded("setting up the adapter", [&]() -> Result<std::unique_ptr<Session>> {
    GRAFT_TRY(model::Adapter adapter, new_adapter(settings, decoder->spec(), decoder->weights()));
    return LoraSession::create(decoder, settings, std::move(adapter));
  });
}

}  // namespace graft::training
