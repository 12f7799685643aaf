#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "serving/engine.h"
#include "training/session.h"

namespace graft::training {

struct CertificateSubject {
  std::string base_model;
  std::string base_digest;
  std::string dtype;  // float32 | bfloat16
  std::string adapter_sha256;
  std::string build;
  std::string isa;
};

// Natural-log probabilities of every token but the first, given the ones before it.
struct CertificateExample {
  std::vector<int32_t> tokens;  // at least 2
  std::vector<float> training;  // [tokens - 1], by the session
  std::vector<float> runtime;   // [tokens - 1], by the engine
};

// Logits of a text's classes.
struct ClassCertificate {
  std::vector<int32_t> tokens;
  std::vector<float> training;  // [labels], by the session
  std::vector<float> runtime;   // [labels], by the engine
};

// What the adapter said about some texts at the end of its training: whoever serves it can ask again and compare.
struct Certificate {
  CertificateSubject subject;
  double tolerance = 0;
  double largest_difference = 0;  // between training and runtime
  std::vector<CertificateExample> examples;
  std::vector<ClassCertificate> classes;  // of a classifier

  [[nodiscard]] bool holds() const { return largest_difference <= tolerance; }
};

// The promise of a dtype: 1e-4 in float32, 2e-2 in bfloat16.
double logprob_tolerance(const std::string& dtype);

// Asks the session and the engine, which knows the session's snapshot as the adapter `adapter_id`, about the same
// texts. Texts of fewer than two tokens are left out.
Result<Certificate> make_certificate(Session& session, serving::Engine& engine, const std::string& adapter_id,
                                     const std::vector<std::vector<int32_t>>& texts, CertificateSubject subject);

// certificate.json: {version, base_model, base_digest, dtype, adapter_sha256, build, isa, tolerance,
// largest_difference, holds, examples: [{tokens, training_logprobs, runtime_logprobs}]}; of a classifier also classes:
// [{tokens, training_logits, runtime_logits}].
nlohmann::ordered_json to_json(const Certificate& certificate);

}  // namespace graft::training
