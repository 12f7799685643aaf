#include "storage/hub.h"

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "storage/hub_cache.h"
#include "storage/hub_client.h"
#include "storage/hub_download.h"
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

class Fetch {
 public:
  Fetch(const HubModel& model, const HubSettings& settings, const HubCache& cache, const OnFetchProgress& on_progress)
      : settings_(settings), client_(settings, model), model_(model), cache_(cache), on_progress_(on_progress) {}

  Result<HubListing> list() const { return client_.list(); }

  Result<fs::path> run(const HubListing& listing) {
    commit_ = listing.commit;
    GRAFT_TRY(ModelFiles files, pick_model_files(listing.files, model_.file, client_.place()));
    GRAFT_CHECK_OK(cache_.remember(model_.revision, commit_));
    if (!files.index.empty()) {
      GRAFT_CHECK_OK(fetch({files.index}));
      GRAFT_TRY(const std::string index, read_file(cache_.snapshot(commit_) / files.index));
      GRAFT_TRY(const auto weights, files_of_index(index, client_.place() + ": " + files.index));
      files.files.insert(files.files.end(), weights.begin(), weights.end());
    }
    GRAFT_CHECK_OK(fetch(files.files));
    return model_path(cache_, commit_, files);
  }

 private:
  Status fetch(const std::vector<std::string>& names) {
    std::vector<HubFile> missing;
    for (const std::string& name : names) {
      if (fs::exists(cache_.snapshot(commit_) / name)) continue;
      GRAFT_TRY(HubFile file, client_.describe(commit_, name));
      if (!fs::exists(cache_.blob(file.etag))) progress_.total += file.size;
      missing.push_back(std::move(file));
    }
    for (const HubFile& file : missing) GRAFT_CHECK_OK(fetch_file(file));
    return {};
  }

  Status fetch_file(const HubFile& file) {
    GRAFT_TRY(const FileLock lock, cache_.lock(file.etag));
    if (!fs::exists(cache_.blob(file.etag))) {  // else another process was faster, or another revision has it
      progress_.file = file.name;
      GRAFT_CHECK_OK(fetch_blob(client_, settings_, commit_, file, cache_.blob(file.etag), [this](int64_t bytes) {
        progress_.done += bytes;
        if (on_progress_) on_progress_(progress_);
      }));
    }
    return cache_.link(commit_, file.name, file.etag);
  }

  const HubSettings& settings_;
  HubClient client_;
  const HubModel& model_;
  const HubCache& cache_;
  const OnFetchProgress& on_progress_;
  std::string commit_;
  FetchProgress progress_;
};

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
  Fetch fetch(model, settings, cache, on_progress);
  const auto listing = fetch.list();
  if (listing.ok()) return fetch.run(*listing);
  const ErrorKind kind = listing.error().kind;
  const bool unreachable = kind == ErrorKind::kIo || kind == ErrorKind::kOverloaded;
  if (!unreachable || !cached.ok()) return listing.error();
  log_warn("{}; taking what the cache has of {}", listing.error().message, model.repo);
  return cached;
}

}  // namespace graft::storage
