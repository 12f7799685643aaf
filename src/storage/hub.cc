#include "storage/hub.h"

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "storage/hub_cache.h"
#include "storage/hub_client.h"
#include "storage/hub_fetch.h"
#include "storage/hub_files.h"

namespace graft::storage {
namespace {

// What to open of a snapshot.
fs::path model_path(const HubCache& cache, const std::string& commit, const ModelFiles& files) {
  return files.gguf.empty() ? cache.snapshot(commit) : cache.snapshot(commit) / files.gguf;
}

bool among(const std::vector<std::string>& sorted, const std::string& name) {
  return std::binary_search(sorted.begin(), sorted.end(), name);
}

// A model from the cache alone; an error where a part of it is missing.
Result<fs::path> cached_model(const HubModel& model, const HubCache& cache, const std::string& place) {
  const auto commit = cache.commit_of(model.revision);
  if (!commit || !fs::is_directory(cache.snapshot(*commit))) return not_found(place + ": not there");
  const std::vector<std::string> names = cache.files(*commit);
  GRAFT_TRY(const ModelFiles files, pick_model_files(names, model.file, place));
  if (!files.index.empty()) {
    GRAFT_TRY(const std::string index, read_file(cache.snapshot(*commit) / files.index));
    GRAFT_TRY(const auto weights, files_of_index(index, place + ": " + files.index));
    for (const std::string& name : weights) {
      if (!among(names, name)) return not_found(place + ": " + name + " is missing");
    }
  }
  const bool tokenizer =
      among(names, "tokenizer.json") || among(names, "tokenizer.model") || among(names, "vocab.json");
  if (files.gguf.empty() && !tokenizer) return not_found(place + ": the tokenizer is missing");
  return model_path(cache, *commit, files);
}

Result<fs::path> fetch(const HubModel& model, const HubSettings& settings, const HubCache& cache,
                       const HubClient& client, const HubListing& listing, const OnFetchProgress& on_progress) {
  const std::string& commit = listing.commit;
  GRAFT_TRY(ModelFiles files, pick_model_files(listing.files, model.file, client.place()));
  GRAFT_CHECK_OK(cache.remember(model.revision, commit));
  HubFetch fetch(client, settings, cache, commit, on_progress);
  if (!files.index.empty()) {
    GRAFT_CHECK_OK(fetch.run({files.index}));
    GRAFT_TRY(const std::string index, read_file(cache.snapshot(commit) / files.index));
    GRAFT_TRY(const auto weights, files_of_index(index, client.place() + ": " + files.index));
    files.files.insert(files.files.end(), weights.begin(), weights.end());
  }
  GRAFT_CHECK_OK(fetch.run(files.files));
  return model_path(cache, commit, files);
}

}  // namespace

Result<fs::path> fetch_hub_model(const HubModel& model, const HubSettings& settings,
                                 const OnFetchProgress& on_progress) {
  const HubCache cache(settings.cache, model.repo);
  const std::string place = model.repo + "@" + model.revision + " in the cache " + settings.cache.string();
  auto cached = cached_model(model, cache, place);
  if (settings.offline) {
    if (cached.ok()) return cached;
    return Error{cached.error().kind, cached.error().message + "; unset HF_HUB_OFFLINE to fetch it"};
  }
  if (cached.ok() && is_commit(model.revision)) return cached;  // a commit never changes
  const HubClient client(settings, model);
  const auto listing = client.list();
  if (listing.ok()) return fetch(model, settings, cache, client, *listing, on_progress);
  const ErrorKind kind = listing.error().kind;
  const bool unreachable = kind == ErrorKind::kIo || kind == ErrorKind::kOverloaded;
  if (!unreachable || !cached.ok()) return listing.error();
  log_warn("{}; taking what the cache has of {}", listing.error().message, model.repo);
  return cached;
}

}  // namespace graft::storage
