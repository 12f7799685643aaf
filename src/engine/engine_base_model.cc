#include "engine/engine_base_model.h"

#include "engine/build_info.h"
#include "engine/loaded_model.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/parallel.h"
#include "runtime/executor/executor.h"
#include "training/lora_session/lora_session.h"

namespace graft::engine {

namespace {

training::LoraSettings lora_settings(const training::SessionSettings& settings, const std::string& base_model) {
  const recipe::AdapterConfig& adapter = settings.adapter;
  training::LoraSettings lora;
  lora.peft.r = adapter.r;
  lora.peft.lora_alpha = adapter.alpha.value_or(2.0 * static_cast<double>(adapter.r));
  lora.peft.lora_dropout = adapter.dropout;
  lora.peft.use_rslora = adapter.use_rslora;
  const bool all_linear = adapter.target_modules == std::vector<std::string>{"all-linear"};
  if (all_linear) {
    lora.peft.target_modules.kind = formats::PeftModules::Kind::kAllLinear;
  } else {
    lora.peft.target_modules.names = adapter.target_modules;
  }
  for (const auto& [name, rank] : adapter.rank_pattern) {
    lora.peft.rank_pattern.emplace_back(name, static_cast<int64_t>(rank));
  }
  lora.peft.alpha_pattern = adapter.alpha_pattern;
  lora.peft.base_model_name_or_path = base_model;
  lora.seed = settings.seed;
  lora.pretrained = adapter.pretrained_adapter_weights.value_or("");
  return lora;
}

class EngineBaseModel : public training::BaseModel {
 public:
  explicit EngineBaseModel(LoadedModel loaded) : loaded_(std::move(loaded)) {
    info_.name = loaded_.name;
    info_.digest = loaded_.digest;
    info_.dtype = loaded_.dtype;
    info_.spec = loaded_.decoder->spec();
    info_.tokenizer = loaded_.tokenizer;
    info_.chat_template = loaded_.chat_template;
    info_.template_variables = loaded_.template_variables;
    info_.environment.build = build_description();
    info_.environment.isa = ops::cpu::isa_name(ops::cpu::kernels().isa);
    info_.environment.threads = ops::cpu::parallel_threads();
  }

  [[nodiscard]] const training::BaseModelInfo& info() const override { return info_; }

  Result<std::unique_ptr<training::Session>> open_session(const training::SessionSettings& settings) override {
    return training::make_lora_session(loaded_.decoder, lora_settings(settings, loaded_.name));
  }

  Result<std::unique_ptr<runtime::StepModel>> open_step_model(int32_t kv_tokens) override {
    return runtime::make_executor(loaded_.decoder, {kv_tokens});
  }

 private:
  LoadedModel loaded_;
  training::BaseModelInfo info_;
};

}  // namespace

Result<std::unique_ptr<training::BaseModel>> open_base_model(const training::BaseModelRequest& request) {
  ops::cpu::set_parallel_threads(request.threads);
  GRAFT_TRY(LoadedModel loaded, load_model(request.name, request.dtype));
  return std::unique_ptr<training::BaseModel>(std::make_unique<EngineBaseModel>(std::move(loaded)));
}

}  // namespace graft::engine
