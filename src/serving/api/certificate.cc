#include "serving/api/certificate.h"

#include <cmath>

#include "base/files.h"
#include "base/json.h"

namespace graft::serving::api {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{64} << 20;
constexpr double kLargestTolerance = 0.1;

AdapterCertificate::Example example_of(const nlohmann::json& json) {
  return {json.at("tokens").get<std::vector<int32_t>>(), json.at("training_logprobs").get<std::vector<float>>()};
}

Status add_examples(const nlohmann::json& json, AdapterCertificate& certificate) {
  size_t tokens = 0;
  for (const auto& entry : json.at("examples")) {
    AdapterCertificate::Example example = example_of(entry);
    if (example.tokens.size() < 2 || example.logprobs.size() + 1 != example.tokens.size()) {
      return invalid("an example's log-probabilities are not one fewer than its tokens");
    }
    tokens += example.tokens.size();
    if (certificate.examples.size() == kMaxExamples || tokens > kMaxCertifiedTokens) break;
    certificate.examples.push_back(std::move(example));
  }
  return {};
}

// nlohmann's accessors throw where a key is missing or of another type.
Result<AdapterCertificate> certificate_of(const nlohmann::json& json) {
  AdapterCertificate out;
  if (json.at("version") != 1) return invalid("its version is not 1");
  out.base_digest = json.value("base_digest", "");
  out.dtype = json.at("dtype").get<std::string>();
  out.adapter_sha256 = json.value("adapter_sha256", "");
  out.tolerance = json.at("tolerance").get<double>();
  if (!(out.tolerance >= 0 && out.tolerance <= kLargestTolerance)) {
    return invalid("its tolerance is not between 0 and 0.1 nats");
  }
  GRAFT_CHECK_OK(add_examples(json, out));
  return out;
}

}  // namespace

Result<AdapterCertificate> parse_certificate(std::string_view json) {
  GRAFT_TRY(const nlohmann::json parsed, parse_json(json));
  try {
    return certificate_of(parsed);
  } catch (const nlohmann::json::exception& error) {
    return invalid(std::string("is no certificate: ") + error.what());
  }
}

Result<AdapterCertificate> read_certificate(const std::filesystem::path& adapter) {
  const fs::path path = adapter / "certificate.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return not_found(adapter.string() + ": has no certificate.json");
  GRAFT_TRY(const std::string text, read_file(path, kMaxBytes));
  auto certificate = parse_certificate(text);
  if (!certificate.ok()) return at(path.string(), invalid(certificate.error().message));
  return certificate;
}

}  // namespace graft::serving::api
