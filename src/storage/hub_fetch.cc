#include "storage/hub_fetch.h"

#include "base/files.h"
#include "storage/hub_download.h"

namespace graft::storage {

Status HubFetch::run(const std::vector<std::string>& names) {
  std::vector<HubFile> missing;
  for (const std::string& name : names) {
    if (fs::exists(cache_.snapshot(commit_) / name)) continue;
    GRAFT_TRY(HubFile file, client_.describe(commit_, name));
    if (file.size > max_bytes_) {
      return invalid(client_.place() + ": " + name + " has " + std::to_string(file.size) + " bytes, more than " +
                     std::to_string(max_bytes_));
    }
    if (!fs::exists(cache_.blob(file.etag))) progress_.total += file.size;
    missing.push_back(std::move(file));
  }
  for (const HubFile& file : missing) GRAFT_CHECK_OK(fetch_file(file));
  return {};
}

Status HubFetch::fetch_file(const HubFile& file) {
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

}  // namespace graft::storage
