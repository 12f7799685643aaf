#include "engine/adapter_options.h"

#include <chrono>
#include <cmath>
#include <future>

#include "base/files.h"
#include "model/decoder.h"
#include "serving/api/adapter_catalog.h"
#include "serving/api/adapter_fetch.h"
#include "serving/api/adapter_resolver.h"
#include "storage/hub.h"

namespace graft::engine {

namespace {

namespace api = serving::api;

Result<api::ResolvedAdapter> resolve(api::AdapterResolver& resolver, const serving::AdapterRef& ref) {
  std::promise<api::ApiResult<api::ResolvedAdapter>> promise;
  resolver.resolve(ref, [&](const api::ApiResult<api::ResolvedAdapter>& outcome) { promise.set_value(outcome); });
  auto outcome = promise.get_future().get();
  if (!outcome.ok()) return invalid(outcome.error().message);
  return std::move(outcome).value();
}

}  // namespace

void AdapterOptions::add_to(CLI::App& command) {
  command
      .add_option("--adapter-source", source,
                  "where adapter ids point to if the request does not say: local (a PEFT directory), hub (org/name) or "
                  "s3 (a URI of an object store)")
      ->envname("ADAPTER_SOURCE")
      ->check(CLI::IsMember({"local", "hub", "s3"}))
      ->capture_default_str();
  command.add_option("--adapter-id", default_adapter, "adapter of requests that name none; default: the base model")
      ->envname("ADAPTER_ID");
  command
      .add_option("--adapter-directory", directory,
                  "folder whose subfolders are adapters: their names are ids, listed by /v1/models")
      ->envname("ADAPTER_DIRECTORY");
  command
      .add_option("--preloaded-adapter-ids", preloaded, "adapters to fetch and read before the first request is taken")
      ->envname("PRELOADED_ADAPTER_IDS")
      ->delimiter(',');
  command
      .add_option(
          "--adapter-recheck-s", recheck_s,
          "seconds after which a hub or object store is asked again for a newer version, and whether a token may "
          "still read it")
      ->envname("ADAPTER_RECHECK_S")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option(
          "--check-certificates", check_certificates,
          "ask the engine about the texts of an adapter's certificate.json before its first use, and refuse the "
          "adapter if it answers otherwise than in its training. present: those that have one; require: the "
          "others are refused too")
      ->envname("CHECK_CERTIFICATES")
      ->check(CLI::IsMember({"off", "present", "require"}))
      ->capture_default_str();
}

Status AdapterOptions::configure(const LoadedModel& model, serving::Engine& engine, const std::string& computes,
                                 api::ApiConfig& config) const {
  GRAFT_TRY(const fs::path home, graft_home());
  api::AdapterFetchSettings fetch;
  GRAFT_TRY(fetch.hub, storage::HubSettings::from_environment());
  // A request waits: rather tell it soon than try for a minute.
  fetch.hub.attempts = 3;
  fetch.hub.retry_delay = std::chrono::milliseconds(500);
  fetch.hub.longest_retry_delay = std::chrono::seconds(4);
  fetch.object_cache = home / "cache/adapters";
  config.adapter_directory = directory;
  config.catalog.default_source = source;
  config.catalog.default_adapter = default_adapter;
  config.catalog.private_folders = {fetch.hub.cache, home / "cache"};
  config.adapter_sources.fetch = api::make_adapter_fetch(std::move(fetch));
  config.adapter_sources.recheck = std::chrono::milliseconds(std::llround(std::min(recheck_s, 1e9) * 1000));
  config.adapter_sources.merge_folder = home / "cache/merged";
  config.adapter_sources.base = model.decoder->spec();
  if (check_certificates == "off") return {};
  using Missing = api::CertificateChecker::Missing;
  const Missing missing = check_certificates == "require" ? Missing::kRefused : Missing::kNoted;
  config.adapter_sources.certificates = std::make_shared<api::CertificateChecker>(
      api::CertificateChecker::Settings{missing, model.digest, computes}, engine);
  return {};
}

Status preload_adapters(serving::Engine& engine, const LoadedModel& model, const api::ApiConfig& config,
                        const std::vector<std::string>& ids) {
  if (ids.empty()) return {};
  const api::AdapterCatalog catalog({config.model_id}, config.adapter_directory, config.catalog);
  api::AdapterResolver resolver(config.adapter_sources);
  for (const std::string& id : ids) {
    const std::string place = "--preloaded-adapter-ids: " + id;
    const auto ref = catalog.resolve(id, "", "id");
    if (!ref.ok()) return at(place, invalid(ref.error().message));
    auto resolved = resolve(resolver, ref.value());
    if (!resolved.ok()) return at(place, resolved.error());
    serving::GenerationRequest request;
    request.prompt = model.tokenizer->encode("a").ids;
    request.max_new_tokens = 1;
    request.adapter = resolved->ref;
    if (auto result = serving::generate(engine, std::move(request)); !result.ok()) return at(place, result.error());
  }
  return {};
}

}  // namespace graft::engine
