#include "serving/api/remote_adapters.h"

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "base/log.h"
#include "base/strings.h"

namespace graft::serving::api {
namespace {

constexpr size_t kMaxKnown = 16384;

ApiError from_source(const Error& error) {
  switch (error.kind) {
    case ErrorKind::kNotFound:
      return {Failure::kNotFound, error.message, "model", {}};
    case ErrorKind::kInvalid:
    case ErrorKind::kUnsupported:
      return {Failure::kBadAdapter, error.message, "model", {}};
    default:
      return {Failure::kUnavailable, error.message, "model", {}};
  }
}

bool may_pass(const Error& error) { return error.kind == ErrorKind::kIo || error.kind == ErrorKind::kOverloaded; }

}  // namespace

RemoteAdapters::RemoteAdapters(Fetch fetch, std::chrono::milliseconds recheck)
    : fetch_(std::move(fetch)), recheck_(recheck) {}

// Tokens are kept as digests.
std::string RemoteAdapters::key_of(const AdapterRef& ref) {
  const std::string token = ref.api_token.empty() ? "" : sha256_hex(ref.api_token);
  return ref.source + "\n" + token + "\n" + ref.id;
}

std::optional<std::string> RemoteAdapters::find(const AdapterRef& ref) { return lookup(key_of(ref), false); }

std::optional<std::string> RemoteAdapters::lookup(const std::string& key, bool stale_too) {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(key);
  if (found == known_.end()) return std::nullopt;
  if (!stale_too && Clock::now() - found->second.asked >= recheck_) return std::nullopt;
  found->second.last_use = ++clock_;
  return found->second.directory;
}

void RemoteAdapters::remember(const std::string& key, const std::string& directory) {
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxKnown && !known_.contains(key)) {
    const auto oldest = std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
      return a.second.last_use < b.second.last_use;
    });
    known_.erase(oldest);
  }
  known_[key] = {directory, Clock::now(), ++clock_};
}

ApiResult<std::string> RemoteAdapters::get(const AdapterRef& ref) {
  const std::string key = key_of(ref);
  std::shared_ptr<std::mutex> asking;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(asking_, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<std::mutex>& shared = asking_[key];
    asking = shared.lock();
    if (asking == nullptr) shared = asking = std::make_shared<std::mutex>();
  }
  const std::lock_guard only_one(*asking);
  if (const auto known = lookup(key, false)) return *known;
  const Result<std::string> fetched = fetch_(ref);
  if (fetched.ok()) {
    remember(key, *fetched);
    return *fetched;
  }
  const auto before = lookup(key, true);
  if (before && may_pass(fetched.error())) {
    log_warn("{}; going on with what there is of adapter {}", fetched.error().message, printable(ref.id));
    return *before;
  }
  const std::lock_guard lock(mutex_);
  known_.erase(key);
  return from_source(fetched.error());
}

}  // namespace graft::serving::api
