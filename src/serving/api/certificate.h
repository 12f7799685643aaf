#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace graft::serving::api {

// What a training run wrote into certificate.json beside its adapter (training/certificate.h says how), as far as it is
// needed to ask again.
struct AdapterCertificate {
  struct Example {
    std::vector<int32_t> tokens;  // at least 2
    std::vector<float> logprobs;  // the trainer's, of every token but the first
  };
  std::string base_digest;     // empty: not said
  std::string dtype;           // float32 | bfloat16
  std::string adapter_sha256;  // of adapter_model.safetensors; empty: not said
  double tolerance = 0;        // nats
  std::vector<Example> examples;
};

// At most kMaxExamples examples of at most kMaxCertifiedTokens tokens together are kept: a certificate comes with an
// adapter, from wherever that comes, and must not cost more than a request does.
constexpr size_t kMaxExamples = 16;
constexpr size_t kMaxCertifiedTokens = 8192;

// Errors: invalid, with what is wrong. A tolerance over 0.1 nats would certify nothing and is refused.
Result<AdapterCertificate> parse_certificate(std::string_view json);

// certificate.json of an adapter's directory. Errors: not_found where there is none; those of parse_certificate.
Result<AdapterCertificate> read_certificate(const std::filesystem::path& adapter);

}  // namespace graft::serving::api
