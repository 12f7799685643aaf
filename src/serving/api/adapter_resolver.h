#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "net/worker_pool.h"
#include "serving/api/certificate_checker.h"
#include "serving/api/merge_cache.h"
#include "serving/api/remote_adapters.h"

namespace graft::serving::api {

// LoRAX's merged_adapters, checked.
struct AdapterMerge {
  std::vector<AdapterRef> adapters;
  std::vector<double> weights;  // finite
  formats::TensorMerge settings;
};

// Turns what a request asks for into a directory that the engine can load: fetches adapters of other sources, merges
// several, and checks certificates where that is asked for. On threads of its own, so that neither the model nor the
// workers wait for a network or a disk; equal requests that come meanwhile share one answer. Fetches do not hold up
// merges of local adapters.
class AdapterResolver {
 public:
  struct Settings {
    std::filesystem::path merge_folder;      // see MergeCache; empty: no merges
    std::optional<formats::ModelSpec> base;  // likewise
    MergeCache::Limits merges;
    RemoteAdapters::Fetch fetch;                       // of sources other than local
    std::shared_ptr<CertificateChecker> certificates;  // null: nobody asks for them
    std::chrono::milliseconds recheck{60'000};         // how long what a source said holds
    int fetch_threads = 4;
    size_t max_waiting = 1024;  // requests; more are refused as overloaded
  };
  explicit AdapterResolver(Settings settings);
  ~AdapterResolver();  // stop()

  // Calls `done` once: at once where nothing has to be waited for, else on one of the resolver's threads.
  using Done = std::function<void(const ApiResult<ResolvedAdapter>& outcome)>;
  void resolve(const AdapterRef& ref, Done done);
  void resolve(const AdapterMerge& merge, Done done);
  // Whether resolving would give `ref` itself, at once.
  [[nodiscard]] bool is_ready(const AdapterRef& ref) const;

  // Answers what waits as cancelled, and joins. What is being fetched ends first.
  void stop();

  [[nodiscard]] const MergeCache& merges() const { return merges_; }

 private:
  using Work = std::function<ApiResult<ResolvedAdapter>()>;
  enum class Pool { kFetches, kMerges };

  ApiResult<std::string> directory_of(const AdapterRef& ref);
  [[nodiscard]] std::optional<std::string> directory_already(const AdapterRef& ref);
  [[nodiscard]] std::optional<Status> verdict_on(const std::string& directory) const;
  ApiResult<LocalMerge> localise(const AdapterMerge& merge);
  std::optional<LocalMerge> local_already(const AdapterMerge& merge);
  void share(const std::string& key, Pool pool, Work work, Done done);
  void finish(const std::string& key, const ApiResult<ResolvedAdapter>& outcome);
  ApiResult<ResolvedAdapter> guarded(const Work& work);
  std::shared_ptr<net::WorkerPool> pool(Pool which);

  Settings settings_;
  RemoteAdapters remote_;
  MergeCache merges_;

  std::mutex mutex_;
  std::map<std::string, std::vector<Done>> waiting_;  // by what they wait for
  size_t count_ = 0;                                  // of all that wait
  bool stopping_ = false;
  std::shared_ptr<net::WorkerPool> fetch_pool_, merge_pool_;  // made when first needed
};

}  // namespace graft::serving::api
