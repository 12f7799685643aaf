#include "serving/api/merge_cache.h"

#include <unistd.h>

#include <random>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "base/log.h"
#include "fmt/format.h"
#include "formats/peft_merge.h"
#include "serving/adapter_files.h"

namespace graft::serving::api {
namespace {

constexpr size_t kMaxKnown = 8192;
constexpr const char* kField = "parameters.merged_adapters";

// Settings that do not matter to a method have one value, so that they make no second copy.
formats::TensorMerge normalised(const formats::TensorMerge& settings, size_t adapters) {
  using formats::MergeMethod;
  formats::TensorMerge out;
  if (adapters < 2) return out;
  out.method = settings.method;
  if (out.method == MergeMethod::kLinear || out.method == MergeMethod::kCat) return out;
  out.density = settings.density;
  if (out.method != MergeMethod::kDareLinear) out.majority_sign = settings.majority_sign;
  if (out.method != MergeMethod::kTies) out.seed = settings.seed;
  return out;
}

std::string settings_text(const formats::TensorMerge& settings) {
  return fmt::format("{} {:a} {} {}", formats::merge_method_name(settings.method), settings.density,
                     settings.majority_sign == formats::MajoritySign::kTotal ? "total" : "frequency", settings.seed);
}

std::string stamp_text(const AdapterFiles::Stamp& stamp) {
  return fmt::format("{} {} {} {}", stamp.modified_ns, stamp.size, stamp.inode, stamp.device);
}

std::string key_of(const LocalMerge& merge) {
  std::string key = settings_text(normalised(merge.settings, merge.directories.size()));
  for (size_t i = 0; i < merge.directories.size(); ++i) {
    const AdapterFiles files = stat_adapter_files(merge.directories[i]);
    key += fmt::format("\n{:a} {} {} {}", merge.weights[i], stamp_text(files.config), stamp_text(files.weights),
                       merge.directories[i]);
  }
  return key;
}

ApiError adapter_error(const Error& error) {
  if (error.kind == ErrorKind::kNotFound) return {Failure::kNotFound, error.message, kField, {}};
  if (error.kind == ErrorKind::kInvalid || error.kind == ErrorKind::kUnsupported) {
    return {Failure::kBadAdapter, error.message, kField, {}};
  }
  return {Failure::kGeneration, error.message, kField, {}};
}

ApiResult<std::vector<formats::PeftAdapter>> open_all(const LocalMerge& merge, const formats::ModelSpec& base) {
  std::vector<formats::PeftAdapter> adapters;
  for (const std::string& directory : merge.directories) {
    auto adapter = formats::PeftAdapter::open(directory, base);
    if (!adapter.ok()) return adapter_error(adapter.error());
    adapters.push_back(std::move(adapter).value());
  }
  return adapters;
}

std::string digest_of(const LocalMerge& merge, const std::vector<formats::PeftAdapter>& adapters) {
  std::string text = settings_text(normalised(merge.settings, adapters.size()));
  for (size_t i = 0; i < adapters.size(); ++i) text += fmt::format("\n{:a} {}", merge.weights[i], adapters[i].digest());
  return sha256_hex(text).substr(0, 32);
}

int64_t bytes_of(const formats::MergedAdapter& merged) {
  constexpr size_t kConfigAndHeader = 16384;
  size_t bytes = kConfigAndHeader;
  for (const auto& module : merged.modules) bytes += (module.a.size() + module.b.size()) * sizeof(float);
  return static_cast<int64_t>(bytes);
}

// Folders of processes that have ended: nobody holds their locks.
void remove_abandoned(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const fs::path lock = it->path();
    if (lock.extension() != ".lock" || lock.stem().empty() || !FileLock::try_acquire(lock).ok()) continue;
    const Status removed = remove_tree(folder / lock.stem());
    if (!removed.ok()) log_warn("{}", removed.error().message);
    std::error_code ignored;
    fs::remove(lock, ignored);
  }
}

}  // namespace

MergeCache::MergeCache(std::filesystem::path folder, std::optional<formats::ModelSpec> base, Limits limits)
    : folder_(std::move(folder)), base_(std::move(base)), limits_(limits) {}

MergeCache::~MergeCache() {
  if (own_.empty()) return;
  static_cast<void>(remove_tree(own_));
  std::error_code ignored;
  fs::remove(own_.string() + ".lock", ignored);
}

Status MergeCache::open_folder() {
  if (!own_.empty()) return {};
  GRAFT_CHECK_OK(make_directories(folder_));
  GRAFT_TRY(const FileLock all, FileLock::acquire(folder_ / "folders"));
  remove_abandoned(folder_);
  const fs::path own = folder_ / fmt::format("{}-{:08x}", ::getpid(), std::random_device()());
  GRAFT_TRY(FileLock lock, FileLock::try_acquire(own.string() + ".lock"));
  GRAFT_CHECK_OK(make_directories(own));
  own_lock_ = std::move(lock);
  own_ = own;
  return {};
}

std::optional<ResolvedAdapter> MergeCache::find(const LocalMerge& merge) {
  const std::string key = key_of(merge);
  std::string digest;
  {
    const std::lock_guard lock(mutex_);
    const auto known = known_.find(key);
    if (known == known_.end()) return std::nullopt;
    digest = known->second;
  }
  return hold(digest, "");
}

// Null where it is not there. `key`: remembered as a way to it, where not empty.
std::optional<ResolvedAdapter> MergeCache::hold(const std::string& digest, const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(digest);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = found->second;
  entry.last_use = ++clock_;
  std::shared_ptr<const void> lease = entry.lease.lock();
  if (lease == nullptr) entry.lease = lease = std::make_shared<int>(0);
  if (!key.empty()) {
    if (known_.size() >= kMaxKnown) known_.clear();
    known_[key] = digest;
  }
  return ResolvedAdapter{{entry.directory, "local", ""}, std::move(lease)};
}

ApiResult<ResolvedAdapter> MergeCache::make(const LocalMerge& merge) {
  if (folder_.empty() || !base_)
    return bad_field("`merged_adapters` is not available: this server keeps no cache", kField);
  const std::lock_guard making(making_);
  const std::string key = key_of(merge);
  return merge_anew(merge, key);
}

ApiResult<ResolvedAdapter> MergeCache::merge_anew(const LocalMerge& merge, const std::string& key) {
  GRAFT_TRY(const std::vector<formats::PeftAdapter> adapters, open_all(merge, *base_));
  const std::string digest = digest_of(merge, adapters);
  // Files that were changed while they were read are found by their digest, not by their stamps.
  const std::string stable = key_of(merge) == key ? key : "";
  if (auto there = hold(digest, stable)) return *there;

  std::vector<formats::MergePart> parts;
  for (size_t i = 0; i < adapters.size(); ++i) parts.push_back({&adapters[i], merge.weights[i], merge.names[i]});
  const auto merged = formats::merge_adapters(parts, normalised(merge.settings, adapters.size()));
  if (!merged.ok()) return bad_field(merged.error().message, kField);
  const int64_t size = bytes_of(*merged);
  if (!make_room(size)) {
    return ApiError{Failure::kOverloaded, "running requests hold all merged adapters that there is room for", {}, {}};
  }
  if (const Status opened = open_folder(); !opened.ok()) return adapter_error(opened.error());
  const fs::path directory = own_ / digest;
  if (const Status written = formats::write_merged_adapter(directory, *merged); !written.ok()) {
    return adapter_error(written.error());
  }
  {
    const std::lock_guard lock(mutex_);
    entries_[digest] = {directory.string(), size, 0, {}};
    bytes_ += size;
    ++made_;
  }
  return *hold(digest, stable);
}

// false: what requests hold leaves no room.
bool MergeCache::make_room(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  while (entries_.size() + 1 > limits_.count || bytes_ + bytes > limits_.bytes) {
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      const bool older = oldest == entries_.end() || it->second.last_use < oldest->second.last_use;
      if (older && it->second.lease.expired()) oldest = it;
    }
    if (oldest == entries_.end()) return false;
    static_cast<void>(remove_tree(oldest->second.directory));
    bytes_ -= oldest->second.bytes;
    entries_.erase(oldest);
  }
  return true;
}

size_t MergeCache::count() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

int64_t MergeCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

uint64_t MergeCache::made() const {
  const std::lock_guard lock(mutex_);
  return made_;
}

}  // namespace graft::serving::api
