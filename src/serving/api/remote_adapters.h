#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "serving/api/api_error.h"
#include "serving/engine.h"

namespace graft::serving::api {

// Where adapters of other machines are on this one. What was found holds for a while, for the same id, source and token
// only: another token, or the same one later, is a question to the source anew, which may say that it has a newer
// version, or that this token may not read it. Safe from many threads.
class RemoteAdapters {
 public:
  // Asks the source, fetches what is new, and returns the directory. Errors of kIo and kOverloaded are the source's.
  using Fetch = std::function<Result<std::string>(const AdapterRef& ref)>;
  using Clock = std::chrono::steady_clock;

  RemoteAdapters(Fetch fetch, std::chrono::milliseconds recheck);

  // What is known and still holds.
  [[nodiscard]] std::optional<std::string> find(const AdapterRef& ref);
  // Asks and fetches where nothing holds; whoever asks for the same meanwhile waits for that. May take minutes. Where
  // the source cannot be reached, what this token was given before still holds.
  [[nodiscard]] ApiResult<std::string> get(const AdapterRef& ref);

  static std::string key_of(const AdapterRef& ref);

 private:
  struct Known {
    std::string directory;
    Clock::time_point asked;
    uint64_t last_use = 0;
  };
  void remember(const std::string& key, const std::string& directory);
  std::optional<std::string> lookup(const std::string& key, bool stale_too);

  Fetch fetch_;
  std::chrono::milliseconds recheck_;
  std::mutex mutex_;
  std::map<std::string, Known> known_;
  std::map<std::string, std::weak_ptr<std::mutex>> asking_;
  uint64_t clock_ = 0;
};

}  // namespace graft::serving::api
