#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/fetch_progress.h"
#include "storage/hub_cache.h"
#include "storage/hub_client.h"

namespace graft::storage {

// Brings files of one commit into the cache. What is there already is not asked for.
class HubFetch {
 public:
  HubFetch(const HubClient& client, const HubSettings& settings, const HubCache& cache, std::string commit,
           const OnFetchProgress& on_progress)
      : client_(client), settings_(settings), cache_(cache), commit_(std::move(commit)), on_progress_(on_progress) {}

  // Larger files are refused before anything is fetched.
  void limit_bytes(int64_t bytes) { max_bytes_ = bytes; }
  // In this order, so that the last one is there only if all are.
  Status run(const std::vector<std::string>& names);

 private:
  Status fetch_file(const HubFile& file);

  const HubClient& client_;
  const HubSettings& settings_;
  const HubCache& cache_;
  std::string commit_;
  OnFetchProgress on_progress_;
  int64_t max_bytes_ = std::numeric_limits<int64_t>::max();
  FetchProgress progress_;
};

}  // namespace graft::storage
