#include "training/generated_evaluation.h"

#include <algorithm>
#include <utility>

#include "serving/engine.h"
#include "training/generate_all.h"

namespace graft::training {
namespace {

constexpr const char* kAdapterId = "evaluated";

Result<std::unique_ptr<serving::Engine>> open_engine(Session& session, const BaseModelInfo& base, int32_t kv_tokens) {
  GRAFT_TRY(auto weights, session.snapshot());
  GRAFT_TRY(auto model, session.step_model(kv_tokens));
  auto engine = serving::Engine::create(std::move(model), base.tokenizer, base.spec.eos_token_ids, {});
  engine->add_adapter(kAdapterId, std::move(weights));
  return engine;
}

}  // namespace

Result<std::optional<MetricValues>> GeneratedEvaluation::operator()(Session& session, const std::atomic<bool>& stop) {
  GRAFT_TRY(const auto engine, open_engine(session, base_, data_.sample_tokens));
  std::vector<const SamplePrompt*> asked;
  std::vector<serving::GenerationRequest> requests;
  for (const SamplePrompt& prompt : data_.prompts) {
    const int64_t room = engine->limits().max_total_tokens - static_cast<int64_t>(prompt.tokens.size());
    if (room < 1 || prompt.tokens.empty()) continue;
    serving::GenerationRequest request;
    request.prompt = prompt.tokens;
    request.max_new_tokens = static_cast<int32_t>(std::min(max_new_tokens_, room));
    request.logprobs = false;
    request.adapter.id = kAdapterId;
    requests.push_back(std::move(request));
    asked.push_back(&prompt);
  }
  GenerateAllOptions options;
  options.stop = &stop;
  auto results = generate_all(*engine, std::move(requests), options);
  if (!results.ok() && results.error().kind == ErrorKind::kCancelled) return std::optional<MetricValues>();
  if (!results.ok()) return results.error();
  metrics_.reset();
  for (size_t i = 0; i < asked.size(); ++i) {
    GRAFT_TRY(const auto values,
              metrics_.add(asked[i]->row, asked[i]->prompt, (*results)[i].text, asked[i]->reference));
  }
  return std::optional<MetricValues>(metrics_.means());
}

std::vector<std::string> evaluation_metrics(const recipe::TrainerConfig& trainer) {
  std::vector<std::string> names = trainer.evaluation_metrics;
  const bool decides = trainer.validation_metric != "loss";
  if (decides && std::find(names.begin(), names.end(), trainer.validation_metric) == names.end()) {
    names.push_back(trainer.validation_metric);
  }
  return names;
}

}  // namespace graft::training
