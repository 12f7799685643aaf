#include "storage/hub_adapter.h"

#include <algorithm>
#include <vector>

#include "base/files.h"
#include "storage/hub_cache.h"
#include "storage/hub_client.h"
#include "storage/hub_fetch.h"

namespace graft::storage {
namespace {

bool has(std::span<const std::string> names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<fs::path> cached_adapter(const HubModel& adapter, const HubCache& cache, const std::string& place) {
  const auto commit = cache.commit_of(adapter.revision);
  if (!commit) return not_found(place + ": not in the cache; unset HF_HUB_OFFLINE to fetch it");
  GRAFT_TRY(const auto files, pick_adapter_files(cache.files(*commit), place));
  return cache.snapshot(*commit);
}

}  // namespace

Result<std::vector<std::string>> pick_adapter_files(std::span<const std::string> names, const std::string& place) {
  const std::string config = "adapter_config.json";
  if (!has(names, config)) return not_found(place + ": no adapter_config.json; it is not a PEFT adapter");
  for (const std::string weights : {"adapter_model.safetensors", "adapter_model.bin"}) {
    if (!has(names, weights)) continue;
    std::vector<std::string> picked = {weights};
    if (has(names, "certificate.json")) picked.emplace_back("certificate.json");
    picked.push_back(config);
    return picked;
  }
  return not_found(place + ": neither adapter_model.safetensors nor adapter_model.bin");
}

Result<fs::path> fetch_hub_adapter(const HubModel& adapter, const HubSettings& settings, int64_t max_bytes) {
  const HubCache cache(settings.cache, adapter.repo);
  const HubClient client(settings, adapter);
  if (settings.offline) return cached_adapter(adapter, cache, client.place());
  GRAFT_TRY(const HubListing listing, client.list());
  GRAFT_TRY(const auto names, pick_adapter_files(listing.files, client.place()));
  HubFetch fetch(client, settings, cache, listing.commit, nullptr);
  fetch.limit_bytes(max_bytes);
  GRAFT_CHECK_OK(fetch.run(names));
  GRAFT_CHECK_OK(cache.remember(adapter.revision, listing.commit));
  return cache.snapshot(listing.commit);
}

}  // namespace graft::storage
