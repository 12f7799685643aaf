#include "serving/api/certificate_checker.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "base/log.h"
#include "serving/adapter_files.h"

namespace graft::serving::api {
namespace {

constexpr size_t kMaxVerdicts = 16384;

// Changes with every version of the adapter and of its certificate.
std::string key_of(const std::string& directory) {
  const AdapterFiles files = stat_adapter_files(directory);
  struct stat certificate{};
  if (::stat((directory + "/certificate.json").c_str(), &certificate) != 0) certificate = {};
  return fmt::format("{} {} {} {} {} {} {} {} {}", files.config.modified_ns, files.config.inode,
                     files.weights.modified_ns, files.weights.inode, files.weights.size, certificate.st_mtim.tv_sec,
                     certificate.st_mtim.tv_nsec, certificate.st_ino, directory);
}

struct Apart {
  double nats = 0;
  size_t token = 0;  // the number of the token, from 1, whose probability it is
  float here = 0, certified = 0;
};

Result<Apart> ask(Engine& engine, const std::string& directory, const AdapterCertificate::Example& example) {
  GenerationRequest request;
  request.prompt = example.tokens;
  request.max_new_tokens = 1;
  request.prompt_logprobs = true;
  request.adapter.id = directory;
  request.tenant = "graft certificates";
  GRAFT_TRY(const GenerationResult result, generate(engine, std::move(request)));
  if (result.prefill.size() != example.tokens.size()) return internal_error("the engine returned too few logprobs");
  Apart worst;
  for (size_t i = 0; i < example.logprobs.size(); ++i) {
    const float here = result.prefill[i + 1].logprob;
    double nats = std::abs(double{here} - double{example.logprobs[i]});
    // What is not a number never passes for agreement.
    if (std::isnan(nats)) nats = std::numeric_limits<double>::infinity();
    if (nats > worst.nats) worst = {nats, i + 2, here, example.logprobs[i]};
  }
  return worst;
}

}  // namespace

std::optional<Status> CertificateChecker::known(const std::string& directory) {
  const std::string key = key_of(directory);
  const std::lock_guard lock(mutex_);
  const auto found = verdicts_.find(key);
  return found == verdicts_.end() ? std::nullopt : std::optional(found->second);
}

Status CertificateChecker::check(const std::string& directory) {
  const std::string key = key_of(directory);
  Status verdict = judge(directory);
  if (!verdict.ok() && verdict.error().kind != ErrorKind::kConflict) return verdict;
  if (key_of(directory) != key) return verdict;  // changed meanwhile: the next request asks again
  const std::lock_guard lock(mutex_);
  if (verdicts_.size() >= kMaxVerdicts) verdicts_.clear();
  verdicts_.insert_or_assign(key, verdict);
  return verdict;
}

Status CertificateChecker::judge(const std::string& directory) const {
  const auto certificate = read_certificate(directory);
  if (!certificate.ok() && certificate.error().kind == ErrorKind::kNotFound) {
    if (settings_.missing == Missing::kRefused) {
      return conflict(certificate.error().message + ", and this server wants one");
    }
    log_info("{}; served without", certificate.error().message);
    return {};
  }
  if (!certificate.ok()) return conflict(certificate.error().message);
  GRAFT_CHECK_OK(check_files(*certificate, directory));
  if (certificate->dtype == settings_.computes) return check_numbers(*certificate, directory);
  log_info("{}: certified in {}, served in {}: its log-probabilities are not compared", directory, certificate->dtype,
           settings_.computes);
  return {};
}

Status CertificateChecker::check_files(const AdapterCertificate& certificate, const std::string& directory) const {
  const std::string& base = settings_.base_digest;
  if (!base.empty() && !certificate.base_digest.empty() && certificate.base_digest != base) {
    return conflict(fmt::format("{}: was certified on another base model (SHA-256 {:.12}..., not {:.12}...)", directory,
                                certificate.base_digest, base));
  }
  if (certificate.adapter_sha256.empty()) return {};
  const auto digest = sha256_file(directory + "/adapter_model.safetensors");
  if (!digest.ok()) return conflict(digest.error().message);
  if (*digest == certificate.adapter_sha256) return {};
  return conflict(
      fmt::format("{}: adapter_model.safetensors (SHA-256 {:.12}...) is not the file that was certified "
                  "({:.12}...)",
                  directory, *digest, certificate.adapter_sha256));
}

Status CertificateChecker::check_numbers(const AdapterCertificate& certificate, const std::string& directory) const {
  for (size_t i = 0; i < certificate.examples.size(); ++i) {
    const AdapterCertificate::Example& example = certificate.examples[i];
    if (example.tokens.size() + 1 > static_cast<size_t>(engine_->limits().max_total_tokens)) continue;
    GRAFT_TRY(const Apart worst, ask(*engine_, directory, example));
    if (worst.nats <= certificate.tolerance) continue;
    return conflict(fmt::format(
        "{}: does not answer as certified: token {} of text {} has log-probability {:.5f} here and {:.5f} in its "
        "training, {:.2g} nats apart where {:.2g} are allowed",
        directory, worst.token, i + 1, worst.here, worst.certified, worst.nats, certificate.tolerance));
  }
  return {};
}

}  // namespace graft::serving::api
