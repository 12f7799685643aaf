#include "engine/engine_base_model.h"

#include "engine/build_info.h"
#include "engine/loaded_model.h"
#include "ops/cpu/kernels.h"
#include "ops/cpu/parallel.h"
#include "runtime/executor/executor.h"
#include "storage/open_source.h"
#include "training/full_session/full_session.h"
#include "training/lora_session/lora_session.h"

namespace graft::engine {

namespace {

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
    info_.text_digest = loaded_.text_digest;
    info_.environment.build = build_description();
    info_.environment.isa = ops::cpu::isa_name(ops::cpu::kernels().isa);
    info_.environment.threads = ops::cpu::parallel_threads();
  }

  [[nodiscard]] const training::BaseModelInfo& info() const override { return info_; }

  Result<std::unique_ptr<training::Session>> open_session(const training::SessionSettings& settings) override {
    if (settings.full) return open_full_session(settings);
    return training::make_lora_session(loaded_.decoder, settings);
  }

  Result<std::unique_ptr<runtime::StepModel>> open_step_model(int32_t kv_tokens) override {
    return runtime::make_executor(loaded_.decoder, {kv_tokens});
  }

 private:
  // Opened before the training: what the result needs of the source must not be missed at its end.
  Result<std::unique_ptr<training::Session>> open_full_session(const training::SessionSettings& settings) {
    GRAFT_TRY(std::shared_ptr<const formats::ModelSource> source, storage::open_model_source(loaded_.name));
    return training::make_full_session(
        loaded_.decoder, {settings.optimization, settings.seed, settings.checkpointing, std::move(source)});
  }

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
