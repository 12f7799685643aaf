#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file_lock.h"
#include "formats/model_spec.h"
#include "formats/tensor_merge.h"
#include "serving/api/api_error.h"
#include "serving/engine.h"

namespace graft::serving::api {

// What the engine is to be asked for.
struct ResolvedAdapter {
  AdapterRef ref;  // a local directory, or the base model
  std::shared_ptr<const void>
      lease;  // to be held until the request has ended; null: the directory is nobody's to remove
};

// Adapters that are on this machine, to be merged.
struct LocalMerge {
  std::vector<std::string> names;        // as the request has them
  std::vector<std::string> directories;  // of the same number
  std::vector<double> weights;           // likewise
  formats::TensorMerge settings;
};

// Merged adapters as PEFT directories, named by a digest of what went in: the bytes of the adapters, the weights and
// the settings. They are in a folder of this process below `folder`, which goes with it; what killed processes left is
// removed by the next. When there are too many, those that no request holds go, least recently used first; when all are
// held, more are refused as overloaded. Safe from many threads; one merge is made at a time.
class MergeCache {
 public:
  struct Limits {
    size_t count = 256;
    int64_t bytes = int64_t{4} << 30;
  };
  // Without a folder or the base model's spec every merge is refused.
  MergeCache(std::filesystem::path folder, std::optional<formats::ModelSpec> base, Limits limits);
  ~MergeCache();
  MergeCache(const MergeCache&) = delete;
  MergeCache& operator=(const MergeCache&) = delete;

  // What has been made of files that have not changed since: looks at their stamps only.
  [[nodiscard]] std::optional<ResolvedAdapter> find(const LocalMerge& merge);
  // Reads and merges the adapters where that has not been done yet. Takes as long as it takes.
  [[nodiscard]] ApiResult<ResolvedAdapter> make(const LocalMerge& merge);

  [[nodiscard]] size_t count() const;
  [[nodiscard]] int64_t bytes() const;
  [[nodiscard]] uint64_t made() const;  // ever

 private:
  struct Entry {
    std::string directory;
    int64_t bytes = 0;
    uint64_t last_use = 0;
    std::weak_ptr<const void> lease;
  };

  Status open_folder();
  ApiResult<ResolvedAdapter> merge_anew(const LocalMerge& merge, const std::string& key);
  std::optional<ResolvedAdapter> hold(const std::string& digest, const std::string& key);
  bool make_room(int64_t bytes);

  const std::filesystem::path folder_;
  const std::optional<formats::ModelSpec> base_;
  const Limits limits_;

  std::mutex making_;          // held while a merge is made
  std::filesystem::path own_;  // of this process, below folder_
  std::optional<FileLock> own_lock_;

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;                // by digest
  std::unordered_map<std::string, std::string> known_;  // digest by the stamps of the files that went in
  int64_t bytes_ = 0;
  uint64_t clock_ = 0;
  uint64_t made_ = 0;
};

}  // namespace graft::serving::api
