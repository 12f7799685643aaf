#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"

namespace graft::storage {

// The folder of one model in the cache that huggingface_hub uses too; see hub.h for its layout.
class HubCache {
 public:
  HubCache(std::filesystem::path cache, const std::string& repo);

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
  [[nodiscard]] std::filesystem::path snapshot(const std::string& commit) const {
    return folder_ / "snapshots" / commit;
  }

  // The commit that a branch or tag stood for when it was last asked for; a commit is its own.
  [[nodiscard]] std::optional<std::string> commit_of(const std::string& revision) const;
  Status remember(const std::string& revision, const std::string& commit) const;

  // Names of the files of a snapshot that are there in full, sorted.
  [[nodiscard]] std::vector<std::string> files(const std::string& commit) const;

  // One holder per blob among all processes, Python's included.
  [[nodiscard]] Result<FileLock> lock(const std::string& etag) const;
  // snapshots/COMMIT/NAME -> blobs/ETAG
  Status link(const std::string& commit, const std::string& name, const std::string& etag) const;

 private:
  std::filesystem::path folder_;
  std::filesystem::path locks_;
};

bool is_commit(std::string_view revision);  // 40 hex digits

}  // namespace graft::storage
