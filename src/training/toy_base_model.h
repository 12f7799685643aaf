#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "serving/engine_test_support.h"
#include "training/base_model.h"
#include "training/toy_session.h"

// For tests: a base model of bytes (and <eos>) that trains in no time.
namespace graft::training {

inline constexpr int32_t kToyVocab = 257;
inline constexpr int32_t kToyEos = 256;

class ToyBaseModel final : public BaseModel {
 public:
  using Prepare = std::function<void(ToySession&)>;

  explicit ToyBaseModel(const BaseModelRequest& request, Prepare prepare = {}) : prepare_(std::move(prepare)) {
    info_.name = request.name;
    info_.digest = "toy-digest";
    info_.dtype = request.dtype;
    info_.tokenizer = serving::byte_tokenizer();
    info_.spec.vocab_size = kToyVocab;
    info_.spec.hidden_size = 8;
    info_.spec.intermediate_size = 4096;  // counts in the memory plan alone
    info_.spec.num_layers = 1;
    info_.spec.num_heads = 1;
    info_.spec.num_kv_heads = 1;
    info_.spec.head_dim = 8;
    info_.spec.max_position = 256;
    info_.spec.eos_token_ids = {kToyEos};
    info_.environment = {"test", "generic", request.threads == 0 ? 1 : request.threads};
  }
  [[nodiscard]] const BaseModelInfo& info() const override { return info_; }
  Result<std::unique_ptr<Session>> open_session(const SessionSettings& settings) override {
    auto session = std::make_unique<ToySession>(kToyVocab, settings.peft.lora_dropout, settings.optimization);
    if (prepare_) prepare_(*session);
    return std::unique_ptr<Session>(std::move(session));
  }
  Result<std::unique_ptr<runtime::StepModel>> open_step_model(int32_t kv_tokens) override {
    return std::unique_ptr<runtime::StepModel>(std::make_unique<ToyStepModel>(kToyVocab, kv_tokens));
  }

 private:
  BaseModelInfo info_;
  Prepare prepare_;
};

inline OpenBaseModel open_toy(ToyBaseModel::Prepare prepare = {}) {
  return [prepare = std::move(prepare)](const BaseModelRequest& request) -> Result<std::unique_ptr<BaseModel>> {
    if (request.name != "toy") return not_found(request.name + ": no such model; graft models lists what there is");
    return std::unique_ptr<BaseModel>(std::make_unique<ToyBaseModel>(request, prepare));
  };
}

}  // namespace graft::training
