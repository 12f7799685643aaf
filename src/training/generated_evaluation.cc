#include "training/generated_evaluation.h"

#include <algorithm>
#include <utility>

#include "serving/engine.h"
#include "training/generate_all.h"
#include "training/session_engine.h"

namespace graft::training {
Result<std::optional<MetricValues>> GeneratedEvaluation::operator()(Session& session, const std::atomic<bool>& stop) {
  GRAFT_TRY(const SessionEngine opened, open_session_engine(session, base_, data_.sample_tokens));
  const auto& engine = opened.engine;
  std::vector<const SamplePrompt*> asked;
  std::vector<serving::GenerationRequest> requests;
  for (const SamplePrompt& prompt : data_.prompts) {
    const int64_t room = engine->limits().max_total_tokens - static_cast<int64_t>(prompt.tokens.size());
    if (room < 1 || prompt.tokens.empty()) continue;
    serving::GenerationRequest request;
    request.prompt = prompt.tokens;
    request.max_new_tokens = static_cast<int32_t>(std::min(max_new_tokens_, room));
    request.logprobs = false;
    request.adapter.id = opened.adapter;
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
