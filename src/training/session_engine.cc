#include "training/session_engine.h"

#include <utility>

namespace graft::training {
namespace {

constexpr const char* kAdapterId = "trained";

std::unique_ptr<serving::Engine> engine_over(std::unique_ptr<runtime::StepModel> model, const BaseModelInfo& base) {
  return serving::Engine::create(std::move(model), base.tokenizer, base.spec.eos_token_ids, serving::EngineLimits{});
}

}  // namespace

Result<SessionEngine> open_session_engine(Session& session, const BaseModelInfo& base, int32_t kv_tokens) {
  GRAFT_TRY(auto weights, session.snapshot());
  GRAFT_TRY(auto model, session.step_model(kv_tokens));
  SessionEngine opened{engine_over(std::move(model), base), ""};
  if (weights == nullptr) return opened;
  opened.engine->add_adapter(kAdapterId, std::move(weights));
  opened.adapter = kAdapterId;
  return opened;
}

Result<std::unique_ptr<serving::Engine>> open_base_engine(Session& session, const BaseModelInfo& base,
                                                          int32_t kv_tokens) {
  GRAFT_TRY(auto model, session.base_model(kv_tokens));
  return engine_over(std::move(model), base);
}

}  // namespace graft::training
