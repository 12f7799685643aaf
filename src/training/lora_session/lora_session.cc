#include "training/lora_session/lora_session.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <fmt/format.h>

#include <exception>
#include <limits>
#include <optional>

#include "model/dora.h"
#include "model/peft.h"
#include "ops/cross_entropy.h"
#include "runtime/executor/executor.h"
#include "training/lora_session/adapter_files.h"

namespace graft::training {

namespace {

// Rows that carry loss, and what they predict.
struct LabelledRows {
  std::vector<int64_t> rows;
  std::vector<int32_t> labels;
};

LabelledRows labelled_rows(const PackedBatch& batch) {
  LabelledRows out;
  for (size_t i = 0; i < batch.labels.size(); ++i) {
    if (batch.labels[i] == kIgnoreLabel) continue;
    out.rows.push_back(static_cast<int64_t>(i));
    out.labels.push_back(batch.labels[i]);
  }
  return out;
}

Status check_batch(const PackedBatch& batch, const formats::ModelSpec& spec) {
  if (batch.tokens.empty() || batch.labels.size() != batch.tokens.size() || batch.cu_seqlens.size() < 2 ||
      batch.cu_seqlens.front() != 0 || batch.cu_seqlens.back() != static_cast<int32_t>(batch.tokens.size())) {
    return internal_error("a packed batch whose tokens, labels and cu_seqlens do not belong together");
  }
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    const int32_t length = batch.cu_seqlens[i + 1] - batch.cu_seqlens[i];
    if (length <= 0 || length > spec.max_position) {
      return invalid(fmt::format("a sequence of {} tokens: the model takes 1 to {}", length, spec.max_position));
    }
  }
  return {};
}

template <class F>
auto guarded(const char* what, const F& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& e) {
    const std::string text = e.what();
    return internal_error(fmt::format("{} failed: {}", what, text.substr(0, text.find('\n'))));
  }
}

class LoraSession : public Session {
 public:
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<const model::Decoder> decoder, LoraSettings settings,
                                                 model::Adapter adapter) {
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
      GRAFT_TRY(const ops::CrossEntropy loss, run(batch, scale, true));
      if (loss.loss.requires_grad()) loss.loss.backward();
      return LossSum{loss.loss_sum, static_cast<int64_t>(loss.losses.size())};
    });
  }

  Result<LossSum> evaluate(const PackedBatch& batch) override {
    return guarded("an evaluation", [&]() -> Result<LossSum> {
      const at::NoGradGuard no_grad;
      show_average();
      adapter_.set_dropout(0, 0);
      GRAFT_TRY(const ops::CrossEntropy loss, run(batch, 1.0, false));
      return LossSum{loss.loss_sum, static_cast<int64_t>(loss.losses.size())};
    });
  }

  Result<std::vector<float>> logprobs(const PackedBatch& batch) override {
    return guarded("scoring", [&]() -> Result<std::vector<float>> {
      const at::NoGradGuard no_grad;
      show_average();
      adapter_.set_dropout(0, 0);
      GRAFT_TRY(const ops::CrossEntropy loss, run(batch, 1.0, false));
      std::vector<float> out(batch.tokens.size(), std::numeric_limits<float>::quiet_NaN());
      const LabelledRows labelled = labelled_rows(batch);
      for (size_t i = 0; i < labelled.rows.size(); ++i) {
        out[static_cast<size_t>(labelled.rows[i])] = -loss.losses[i];
      }
      return out;
    });
  }

  Result<double> optim_step(const StepParams& params) override {
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
    return guarded("saving the adapter",
                   [&] { return model::write_peft(directory, settings_.peft, decoder_->spec(), adapter_); });
  }

  Result<std::shared_ptr<const runtime::AdapterWeights>> snapshot() override {
    return guarded("a snapshot of the adapter", [&]() -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
      show_average();
      model::Adapter copy(decoder_->spec(), adapter_.targets(), decoder_->dtype(), false, adapter_.kind());
      copy.masters().copy_(adapter_.masters());
      model::refresh_norms(copy, decoder_->weights());
      copy.repack();
      copy.drop_masters();
      return std::shared_ptr<const runtime::AdapterWeights>(std::make_shared<runtime::LoadedAdapter>(std::move(copy)));
    });
  }

  Result<std::unique_ptr<runtime::StepModel>> step_model(int32_t kv_tokens) override {
    return runtime::make_executor(decoder_, {kv_tokens});
  }

  [[nodiscard]] int64_t trainable_parameters() const override { return adapter_.parameters(); }

 private:
  LoraSession(std::shared_ptr<const model::Decoder> decoder, LoraSettings settings, model::Adapter adapter)
      : decoder_(std::move(decoder)), settings_(std::move(settings)), adapter_(std::move(adapter)) {
    adapter_.repack();
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

  Result<ops::CrossEntropy> run(const PackedBatch& batch, double scale, bool track) {
    GRAFT_CHECK_OK(check_batch(batch, decoder_->spec()));
    const LabelledRows labelled = labelled_rows(batch);
    if (labelled.rows.empty()) return ops::CrossEntropy{};
    model::PackedContext context(batch.cu_seqlens);
    const model::AdapterSegment segment{0, static_cast<int64_t>(batch.tokens.size()), &adapter_};
    const at::Tensor residual = decoder_->forward(batch.tokens, context, {&segment, 1}, track);
    const at::Tensor index =
        at::from_blob(const_cast<int64_t*>(labelled.rows.data()), {static_cast<int64_t>(labelled.rows.size())},
                      at::TensorOptions().dtype(at::kLong))
            .clone();
    const at::Tensor hidden = decoder_->final_norm(at::index_select(residual, 0, index));
    return ops::linear_cross_entropy(hidden, decoder_->weights().lm_head, labelled.labels, scale);
  }

  std::shared_ptr<const model::Decoder> decoder_;
  LoraSettings settings_;
  model::Adapter adapter_;
  std::optional<Updater> updater_;  // over the adapter's masters and gradients
};

}  // namespace

Result<std::unique_ptr<Session>> make_lora_session(std::shared_ptr<const model::Decoder> decoder,
                                                   const LoraSettings& settings) {
  return guarded("setting up the adapter", [&]() -> Result<std::unique_ptr<Session>> {
    GRAFT_TRY(model::Adapter adapter, new_adapter(settings, decoder->spec(), decoder->weights()));
    return LoraSession::create(decoder, settings, std::move(adapter));
  });
}

}  // namespace graft::training
