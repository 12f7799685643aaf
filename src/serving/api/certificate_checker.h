#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "serving/api/certificate.h"
#include "serving/engine.h"

namespace graft::serving::api {

// Asks the engine about the texts of an adapter's certificate before the adapter is used, and compares with what its
// training saw: a file that was exchanged or damaged, another base model, or an engine that computes something else
// shows here. The questions are requests among the others, so serving goes on meanwhile; each version of an adapter is
// asked about once. An engine that does not compute in what the adapter was trained in (weights of 8 bits, say) has
// other numbers to expect: there only base model and weight file are checked, which is logged. This finds faults, not
// forgers: who can write an adapter can write its certificate. Safe from many threads.
class CertificateChecker {
 public:
  enum class Missing { kNoted, kRefused };  // adapters without a certificate: logged, or not served

  struct Settings {
    Missing missing = Missing::kNoted;
    std::string base_digest;  // of the model that is served; empty: not compared
    std::string computes;     // what in: "float32", "bfloat16", or a description of something else
  };
  CertificateChecker(Settings settings, Engine& engine) : settings_(std::move(settings)), engine_(&engine) {}

  // The verdict on these files, where there is one. Looks at their stamps only.
  [[nodiscard]] std::optional<Status> known(const std::string& directory);

  // Reads, asks and compares; waits for the engine. Errors: conflict, a refusal with its numbers, which is remembered;
  // the engine's own, of which nothing is.
  [[nodiscard]] Status check(const std::string& directory);

 private:
  [[nodiscard]] Status judge(const std::string& directory) const;
  [[nodiscard]] Status check_files(const AdapterCertificate& certificate, const std::string& directory) const;
  [[nodiscard]] Status check_numbers(const AdapterCertificate& certificate, const std::string& directory) const;

  Settings settings_;
  Engine* engine_;
  std::mutex mutex_;
  std::map<std::string, Status> verdicts_;  // by directory and stamps
};

}  // namespace graft::serving::api
