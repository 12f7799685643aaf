#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "base/files.h"
#include "base/philox.h"
#include "training/session.h"

// For tests: the smallest model that trains. The logits behind token t are row t of a table: base(t, v) plus what the
// "adapter" learned. Deterministic to the last bit, state saved exactly, dropout on the learned part.
namespace graft::training {

struct ToyTable final : runtime::AdapterWeights {
  std::vector<float> values;  // [vocab, vocab]
  [[nodiscard]] int64_t bytes() const override { return static_cast<int64_t>(values.size() * sizeof(float)); }
};

inline float toy_base_logit(int32_t token, int32_t next) {
  return unit_float(philox_block(7, static_cast<uint64_t>(token), static_cast<uint64_t>(next))[0]);
}

inline void toy_logits(int32_t vocab, const float* learned_row, int32_t token, std::span<float> out) {
  for (int32_t v = 0; v < vocab; ++v) {
    const auto i = static_cast<size_t>(v);
    out[i] = toy_base_logit(token, v) + (learned_row == nullptr ? 0.0F : learned_row[i]);
  }
}

class ToyStepModel final : public runtime::StepModel {
 public:
  ToyStepModel(int32_t vocab, int32_t kv_tokens) {
    info_.vocab_size = vocab;
    info_.max_position = 256;
    info_.block_size = 4;
    info_.num_blocks = std::max(kv_tokens / 4, 1);
  }
  [[nodiscard]] const runtime::StepModelInfo& info() const override { return info_; }

  Result<std::span<const float>> step(std::span<const runtime::SequenceSlice> slices) override {
    logits_.clear();
    for (const auto& slice : slices) {
      if (slice.logits == runtime::LogitRows::kNone) continue;
      const bool all = slice.logits == runtime::LogitRows::kAll;
      for (const int32_t token : all ? slice.tokens : slice.tokens.last(1)) add_row(slice, token);
    }
    return std::span<const float>(logits_);
  }

  [[nodiscard]] Result<std::shared_ptr<const runtime::AdapterWeights>> load_adapter(
      const std::string& directory) const override {
    GRAFT_TRY(const std::string bytes, read_file(fs::path(directory) / "adapter_model.safetensors"));
    auto table = std::make_shared<ToyTable>();
    table->values.resize(bytes.size() / sizeof(float));
    std::memcpy(table->values.data(), bytes.data(), table->values.size() * sizeof(float));
    return std::shared_ptr<const runtime::AdapterWeights>(table);
  }

 private:
  void add_row(const runtime::SequenceSlice& slice, int32_t token) {
    const auto vocab = static_cast<size_t>(info_.vocab_size);
    const size_t at = logits_.size();
    logits_.resize(at + vocab);
    const auto* table = static_cast<const ToyTable*>(slice.adapter);
    const float* row = table == nullptr ? nullptr : &table->values[static_cast<size_t>(token) * vocab];
    toy_logits(static_cast<int32_t>(vocab), row, token, std::span(logits_).subspan(at));
  }

  runtime::StepModelInfo info_;
  std::vector<float> logits_;
};

class ToySession final : public Session {
 public:
  explicit ToySession(int32_t vocab, double dropout = 0.1, const Optimization& optimization = {})
      : vocab_(vocab), dropout_(dropout), learned_(size()), gradient_(size()), rounded_gradient_(size()) {
    // Tall and wide: what is one matrix here is A and B there.
    const int64_t half = vocab / 2;
    updater_.emplace(*Updater::create(
        optimization,
        {{.name = "toy.lora_A", .rows = half, .columns = vocab},
         {.name = "toy.lora_B", .offset = half * vocab, .rows = vocab - half, .columns = vocab, .transposed = true}},
        learned_, rounded_gradient_, run_tasks_here));
  }

  Result<LossSum> forward_backward(const PackedBatch& batch, double scale, uint64_t dropout_stream) override {
    ++calls;
    updater_->show_trained();
    PhiloxStream random(11, dropout_stream);
    LossSum sum;
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      const bool dropped = random.next_double() < dropout_;
      if (batch.labels[i] == kIgnoreLabel) continue;
      sum.loss += position(batch.tokens[i], batch.labels[i], dropped, scale);
      ++sum.tokens;
      if (batch.tokens[i] == poison_token) sum.loss = std::numeric_limits<double>::quiet_NaN();
    }
    if (on_forward) on_forward();
    return sum;
  }

  Result<LossSum> evaluate(const PackedBatch& batch) override {
    GRAFT_TRY(const std::vector<float> values, logprobs(batch));
    LossSum sum;
    for (const float value : values) {
      if (std::isnan(value)) continue;
      sum.loss -= value;
      ++sum.tokens;
    }
    if (on_evaluate) on_evaluate(sum);
    return sum;
  }

  Result<std::vector<float>> logprobs(const PackedBatch& batch) override {
    updater_->show_average();
    std::vector<float> result(batch.tokens.size(), std::numeric_limits<float>::quiet_NaN());
    for (size_t i = 0; i < batch.tokens.size(); ++i) {
      if (batch.labels[i] == kIgnoreLabel) continue;
      const std::vector<double> p = probabilities(batch.tokens[i], false);
      result[i] = static_cast<float>(std::log(p[static_cast<size_t>(batch.labels[i])]));
    }
    return result;
  }

  Result<double> optim_step(const StepParams& params) override {
    if (poison_norm) return std::numeric_limits<double>::infinity();
    last_gradient = gradient_;
    std::copy(gradient_.begin(), gradient_.end(), rounded_gradient_.begin());
    std::fill(gradient_.begin(), gradient_.end(), 0.0);
    return updater_->step(params);
  }

  Status save_state(const std::string& directory) override {
    if (on_save) on_save();
    return updater_->save(directory);
  }

  Status load_state(const std::string& directory) override {
    std::fill(gradient_.begin(), gradient_.end(), 0.0);
    return updater_->load(directory);
  }

  Status save_adapter(const std::string& directory) override {
    updater_->show_average();
    GRAFT_CHECK_OK(write_file_atomic(fs::path(directory) / "adapter_config.json", "{\"peft_type\": \"LORA\"}\n"));
    return write_file_atomic(fs::path(directory) / "adapter_model.safetensors", as_bytes(learned_));
  }

  Result<std::shared_ptr<const runtime::AdapterWeights>> snapshot() override {
    updater_->show_average();
    auto table = std::make_shared<ToyTable>();
    table->values = learned_;
    for (size_t i = 0; i < table->values.size(); i += 2) table->values[i] += snapshot_error;
    return std::shared_ptr<const runtime::AdapterWeights>(table);
  }

  Result<std::unique_ptr<runtime::StepModel>> step_model(int32_t kv_tokens) override {
    return std::unique_ptr<runtime::StepModel>(std::make_unique<ToyStepModel>(vocab_, kv_tokens));
  }

  [[nodiscard]] int64_t trainable_parameters() const override { return static_cast<int64_t>(size()); }
  [[nodiscard]] const std::vector<float>& learned() const { return learned_; }

  // What tests watch and break.
  int64_t calls = 0;
  std::vector<double> last_gradient;
  int32_t poison_token = -1;  // a batch that holds it has loss NaN
  bool poison_norm = false;
  float snapshot_error = 0;
  std::function<void()> on_forward;
  std::function<void(LossSum&)> on_evaluate;
  std::function<void()> on_save;

 private:
  [[nodiscard]] size_t size() const { return static_cast<size_t>(vocab_) * static_cast<size_t>(vocab_); }
  static std::string as_bytes(const std::vector<float>& values) {
    std::string bytes(values.size() * sizeof(float), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }

  [[nodiscard]] std::vector<double> probabilities(int32_t token, bool dropped) const {
    std::vector<float> logits(static_cast<size_t>(vocab_));
    const float* row = dropped ? nullptr : &learned_[static_cast<size_t>(token) * static_cast<size_t>(vocab_)];
    toy_logits(vocab_, row, token, logits);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    std::vector<double> result;
    for (const float logit : logits) result.push_back(std::exp(static_cast<double>(logit)) / sum);
    return result;
  }

  double position(int32_t token, int32_t label, bool dropped, double scale) {
    const std::vector<double> p = probabilities(token, dropped);
    for (size_t v = 0; v < p.size() && !dropped; ++v) {
      const double target = static_cast<int32_t>(v) == label ? 1.0 : 0.0;
      gradient_[static_cast<size_t>(token) * p.size() + v] += (p[v] - target) * scale;
    }
    return -std::log(p[static_cast<size_t>(label)]);
  }

  int32_t vocab_;
  double dropout_;
  std::vector<float> learned_;
  std::vector<double> gradient_;
  std::vector<float> rounded_gradient_;
  std::optional<Updater> updater_;
};

}  // namespace graft::training
