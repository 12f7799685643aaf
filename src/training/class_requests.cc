#include "training/class_requests.h"

#include <cmath>

#include "base/files.h"
#include "base/json.h"
#include "training/confusion.h"

namespace graft::training {

bool is_classifier(const std::optional<std::string>& adapter) {
  if (!adapter) return false;
  const auto text = read_file(fs::path(*adapter) / "adapter_config.json");
  if (!text.ok()) return false;
  const auto json = parse_json(*text);
  return json.ok() && json->is_object() && json->contains("task_type") && (*json)["task_type"] == "SEQ_CLS";
}

serving::GenerationRequest class_request(std::vector<int32_t> tokens, const std::string& adapter_id) {
  serving::GenerationRequest request;
  request.prompt = std::move(tokens);
  request.pooling = serving::Pooling::kClassify;
  request.logprobs = false;
  request.adapter.id = adapter_id;
  return request;
}

ClassAnswer class_answer(const serving::GenerationResult& result) {
  ClassAnswer answer;
  const std::vector<float>& logits = result.pooled;
  if (logits.empty() || result.head == nullptr) return answer;
  answer.label = largest(logits.data(), logits.size());
  answer.name = result.head->labels[answer.label];
  double sum = 0;
  for (const float logit : logits) {
    sum += answer.probabilities.emplace_back(std::exp(static_cast<double>(logit) - logits[answer.label]));
  }
  for (double& p : answer.probabilities) p /= sum;
  return answer;
}

}  // namespace graft::training
