#include "training/certificate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "training/generate_all.h"

namespace graft::training {
namespace {

Result<std::vector<float>> by_session(Session& session, const std::vector<int32_t>& tokens) {
  PackedBatch batch;
  batch.tokens = tokens;
  batch.labels.assign(tokens.begin() + 1, tokens.end());
  batch.labels.push_back(kIgnoreLabel);
  batch.cu_seqlens = {0, static_cast<int32_t>(tokens.size())};
  GRAFT_TRY(std::vector<float> values, session.logprobs(batch));
  if (values.size() != tokens.size()) return internal_error("the session returned another number of logprobs");
  values.pop_back();
  return values;
}

serving::GenerationRequest runtime_request(const std::vector<int32_t>& tokens, const std::string& adapter_id) {
  serving::GenerationRequest request;
  request.prompt = tokens;
  request.max_new_tokens = 1;
  request.prompt_logprobs = true;
  request.adapter.id = adapter_id;
  return request;
}

Result<std::vector<float>> by_runtime(const serving::GenerationResult& result, size_t tokens) {
  if (result.prefill.size() != tokens) return internal_error("the engine returned another number of logprobs");
  std::vector<float> values;
  for (size_t i = 1; i < tokens; ++i) values.push_back(result.prefill[i].logprob);
  return values;
}

double largest_difference(const CertificateExample& example) {
  double largest = 0;
  for (size_t i = 0; i < example.training.size(); ++i) {
    const double difference = std::abs(double{example.training[i]} - double{example.runtime[i]});
    // A probability that is not a number never passes for agreement.
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

}  // namespace

double logprob_tolerance(const std::string& dtype) { return dtype == "float32" ? 1e-4 : 2e-2; }

Result<Certificate> make_certificate(Session& session, serving::Engine& engine, const std::string& adapter_id,
                                     const std::vector<std::vector<int32_t>>& texts, CertificateSubject subject) {
  Certificate certificate;
  certificate.tolerance = logprob_tolerance(subject.dtype);
  certificate.subject = std::move(subject);
  std::vector<serving::GenerationRequest> requests;
  for (const std::vector<int32_t>& tokens : texts) {
    if (tokens.size() < 2) continue;
    GRAFT_TRY(std::vector<float> training, by_session(session, tokens));
    certificate.examples.push_back({tokens, std::move(training), {}});
    requests.push_back(runtime_request(tokens, adapter_id));
  }
  GRAFT_TRY(const std::vector<serving::GenerationResult> results, generate_all(engine, std::move(requests), {}));
  for (size_t i = 0; i < results.size(); ++i) {
    CertificateExample& example = certificate.examples[i];
    GRAFT_TRY(example.runtime, by_runtime(results[i], example.tokens.size()));
    certificate.largest_difference = std::max(certificate.largest_difference, largest_difference(example));
  }
  return certificate;
}

nlohmann::ordered_json to_json(const Certificate& certificate) {
  nlohmann::ordered_json examples = nlohmann::ordered_json::array();
  for (const CertificateExample& example : certificate.examples) {
    examples.push_back(
        {{"tokens", example.tokens}, {"training_logprobs", example.training}, {"runtime_logprobs", example.runtime}});
  }
  const CertificateSubject& subject = certificate.subject;
  nlohmann::ordered_json json = {{"version", 1},
                                 {"base_model", subject.base_model},
                                 {"base_digest", subject.base_digest},
                                 {"dtype", subject.dtype},
                                 {"adapter_sha256", subject.adapter_sha256},
                                 {"build", subject.build},
                                 {"isa", subject.isa},
                                 {"tolerance", certificate.tolerance},
                                 {"largest_difference", certificate.largest_difference},
                                 {"holds", certificate.holds()},
                                 {"examples", std::move(examples)}};
  for (const ClassCertificate& one : certificate.classes) {
    json["classes"].push_back(
        {{"tokens", one.tokens}, {"training_logits", one.training}, {"runtime_logits", one.runtime}});
  }
  return json;
}

}  // namespace graft::training
