#include "serving/api/adapter_resolver.h"

#include <exception>
#include <utility>

#include "fmt/format.h"

namespace graft::serving::api {
namespace {

bool is_local(const AdapterRef& ref) { return ref.id.empty() || ref.source == "local"; }

const ApiError kStopped{Failure::kIncomplete, "the server is shutting down", {}, {}};

ApiError unavailable(const std::string& source) {
  return bad_field(fmt::format("`adapter_source` {} is not available on this server", source), "adapter_source");
}

using Outcome = ApiResult<ResolvedAdapter>;

// A certificate's no, or what the engine said when it was asked.
ApiError refused(const Error& error) {
  if (error.kind == ErrorKind::kConflict) return {Failure::kBadAdapter, error.message, "model", {}};
  return from_generation(error);
}

std::string key_of(const AdapterMerge& merge) {
  const formats::TensorMerge& settings = merge.settings;
  std::string key = fmt::format("merge {} {:a} {} {}", formats::merge_method_name(settings.method), settings.density,
                                static_cast<int>(settings.majority_sign), settings.seed);
  for (size_t i = 0; i < merge.adapters.size(); ++i) {
    const std::string adapter = RemoteAdapters::key_of(merge.adapters[i]);
    key += fmt::format("\n{:a} {} {}", merge.weights[i], adapter.size(), adapter);
  }
  return key;
}

}  // namespace

AdapterResolver::AdapterResolver(Settings settings)
    : settings_(std::move(settings)),
      remote_(settings_.fetch, settings_.recheck),
      merges_(settings_.merge_folder, settings_.base, settings_.merges) {}

AdapterResolver::~AdapterResolver() { stop(); }

void AdapterResolver::stop() {
  std::shared_ptr<net::WorkerPool> fetches;
  std::shared_ptr<net::WorkerPool> merges;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    fetches = std::exchange(fetch_pool_, nullptr);
    merges = std::exchange(merge_pool_, nullptr);
  }
  if (fetches != nullptr) fetches->stop();
  if (merges != nullptr) merges->stop();
}

// Of the certificate: that it may be used, that it may not, or null where the engine has to be asked first.
std::optional<Status> AdapterResolver::verdict_on(const std::string& directory) const {
  return settings_.certificates == nullptr ? Status() : settings_.certificates->known(directory);
}

bool AdapterResolver::is_ready(const AdapterRef& ref) const {
  if (ref.id.empty()) return true;
  if (!is_local(ref)) return false;
  const auto verdict = verdict_on(ref.id);
  return verdict && verdict->ok();
}

void AdapterResolver::resolve(const AdapterRef& ref, Done done) {
  if (is_ready(ref)) return done(ResolvedAdapter{ref, nullptr});
  if (!is_local(ref) && !settings_.fetch) return done(unavailable(ref.source));
  const auto resolved = [](const std::string& directory) { return ResolvedAdapter{{directory, "local", ""}, nullptr}; };
  if (const auto known = directory_already(ref)) {
    const auto verdict = verdict_on(*known);
    if (verdict) return done(verdict->ok() ? Outcome(resolved(*known)) : Outcome(refused(verdict->error())));
  }
  const auto work = [this, ref, resolved]() -> Outcome {
    GRAFT_TRY(const std::string directory, directory_of(ref));
    return resolved(directory);
  };
  share("adapter " + RemoteAdapters::key_of(ref), Pool::kFetches, work, std::move(done));
}

void AdapterResolver::resolve(const AdapterMerge& merge, Done done) {
  const auto local = local_already(merge);
  if (local) {
    if (const auto known = merges_.find(*local)) return done(*known);
  }
  const auto work = [this, merge]() -> ApiResult<ResolvedAdapter> {
    GRAFT_TRY(const LocalMerge parts, localise(merge));
    return merges_.make(parts);
  };
  share(key_of(merge), local ? Pool::kMerges : Pool::kFetches, work, std::move(done));
}

// Fetched where need be, and asked about where nobody has yet.
ApiResult<std::string> AdapterResolver::directory_of(const AdapterRef& ref) {
  std::string directory = ref.id;
  if (!is_local(ref)) {
    if (!settings_.fetch) return unavailable(ref.source);
    GRAFT_TRY(directory, remote_.get(ref));
  }
  auto verdict = verdict_on(directory);
  if (!verdict) verdict = settings_.certificates->check(directory);
  if (!verdict->ok()) return refused(verdict->error());
  return directory;
}

std::optional<std::string> AdapterResolver::directory_already(const AdapterRef& ref) {
  return is_local(ref) ? std::optional(ref.id) : remote_.find(ref);
}

ApiResult<LocalMerge> AdapterResolver::localise(const AdapterMerge& merge) {
  LocalMerge local{{}, {}, merge.weights, merge.settings};
  for (const AdapterRef& ref : merge.adapters) {
    GRAFT_TRY(std::string directory, directory_of(ref));
    local.names.push_back(ref.id);
    local.directories.push_back(std::move(directory));
  }
  return local;
}

// Null where one of them must be fetched, or asked about, first.
std::optional<LocalMerge> AdapterResolver::local_already(const AdapterMerge& merge) {
  LocalMerge local{{}, {}, merge.weights, merge.settings};
  for (const AdapterRef& ref : merge.adapters) {
    const auto directory = directory_already(ref);
    const auto verdict = directory ? verdict_on(*directory) : std::nullopt;
    if (!verdict || !verdict->ok()) return std::nullopt;
    local.names.push_back(ref.id);
    local.directories.push_back(*directory);
  }
  return local;
}

// The caller holds the mutex.
std::shared_ptr<net::WorkerPool> AdapterResolver::pool(Pool which) {
  auto& pool = which == Pool::kFetches ? fetch_pool_ : merge_pool_;
  if (pool == nullptr) {
    pool = std::make_shared<net::WorkerPool>(which == Pool::kFetches ? settings_.fetch_threads : 1);
  }
  return pool;
}

void AdapterResolver::share(const std::string& key, Pool which, Work work, Done done) {
  std::optional<ApiError> refused;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      refused = kStopped;
    } else if (count_ >= settings_.max_waiting) {
      refused = ApiError{Failure::kOverloaded, "too many requests wait for adapters", {}, {}};
    } else {
      ++count_;
      auto& waiters = waiting_[key];
      waiters.push_back(done);
      if (waiters.size() == 1) {
        pool(which)->post([this, key, work = std::move(work)] { finish(key, guarded(work)); });
      }
    }
  }
  if (refused) done(*refused);
}

ApiResult<ResolvedAdapter> AdapterResolver::guarded(const Work& work) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return kStopped;
  }
  try {
    return work();
  } catch (const std::exception& error) {
    return ApiError{Failure::kInternal, std::string("the adapter could not be prepared: ") + error.what(), {}, {}};
  }
}

void AdapterResolver::finish(const std::string& key, const ApiResult<ResolvedAdapter>& outcome) {
  std::vector<Done> waiters;
  {
    const std::lock_guard lock(mutex_);
    waiters = std::move(waiting_.extract(key).mapped());
    count_ -= waiters.size();
  }
  for (const Done& done : waiters) done(outcome);
}

}  // namespace graft::serving::api
