#include "recipe/dataset_cache.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "base/files.h"
#include "base/strings.h"

namespace graft::recipe {
namespace {

constexpr uint64_t kDefaultBytes = uint64_t{20} << 30;
constexpr const char* kVariable = "GRAFT_DATASET_CACHE";
constexpr const char* kName = "name";        // file of an entry: what the data file was called
constexpr const char* kJournal = "journal";  // whose time is that of the last use
constexpr auto kPoll = std::chrono::milliseconds(200);

int64_t bytes_in(const fs::path& directory) {
  std::error_code error;
  int64_t bytes = 0;
  for (const auto& file : fs::directory_iterator(directory, error)) {
    const auto size = file.file_size(error);
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

bool is_finished(const fs::path& journal) {
  const auto text = read_file(journal, uint64_t{1} << 30);
  return text.ok() && text->ends_with("}\n") && text->find("{\"finished\":") != std::string::npos;
}

}  // namespace

std::optional<uint64_t> parse_byte_count(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !(number >= 0)) return std::nullopt;
  std::string unit(end, text.data() + text.size());
  unit.erase(0, unit.find_first_not_of(' ') == std::string::npos ? unit.size() : unit.find_first_not_of(' '));
  double factor = 1;
  if (!unit.empty() && unit != "B") {
    constexpr std::string_view kUnits = "KMGT";
    const size_t power = kUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
    const std::string rest = unit.substr(1);
    if (power == std::string_view::npos || (rest != "" && rest != "B" && rest != "iB")) return std::nullopt;
    for (size_t i = 0; i <= power; ++i) factor *= rest == "B" ? 1000 : 1024;
  }
  if (number * factor >= 9e18) return std::nullopt;
  return static_cast<uint64_t>(number * factor);
}

Result<std::optional<DatasetCache>> DatasetCache::from_environment() {
  uint64_t most = kDefaultBytes;
  if (const char* value = std::getenv(kVariable); value != nullptr && *value != '\0') {
    const auto bytes = parse_byte_count(value);
    if (!bytes) {
      return invalid(std::string(kVariable) + "=" + printable(value, 40) +
                     ": expected a number of bytes such as 20GiB, or 0 for no cache");
    }
    most = *bytes;
  }
  if (most == 0) return std::optional<DatasetCache>();
  GRAFT_TRY(const fs::path home, graft_home());
  return std::optional(DatasetCache(home / "cache" / "datasets", most));
}

Result<DatasetCache::Held> DatasetCache::hold(const std::string& key, const std::string& file,
                                              const std::function<void()>& on_wait,
                                              const std::atomic<bool>* stop) const {
  GRAFT_CHECK_OK(make_directories(directory_));
  const fs::path lock_file = directory_ / (key + ".lock");
  auto lock = FileLock::try_acquire(lock_file);
  if (!lock.ok() && lock.error().kind == ErrorKind::kConflict) on_wait();
  while (!lock.ok() && lock.error().kind == ErrorKind::kConflict) {
    if (stop != nullptr && *stop) return cancelled("stopped while another process prepared the same data");
    lock = FileLock::acquire(lock_file, kPoll);
  }
  if (!lock.ok()) return lock.error();
  const fs::path directory = directory_ / key;
  GRAFT_CHECK_OK(make_directories(directory));
  GRAFT_CHECK_OK(write_file_atomic(directory / kName, file));
  std::error_code ignored;
  fs::last_write_time(directory / kJournal, fs::file_time_type::clock::now(), ignored);
  return Held{std::move(lock).value(), directory};
}

std::vector<DatasetCache::Entry> DatasetCache::list() const {
  std::vector<Entry> entries;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(directory_, error)) {
    if (!item.is_directory(error)) continue;
    Entry entry;
    entry.key = item.path().filename().string();
    entry.file = read_file(item.path() / kName).ok() ? *read_file(item.path() / kName) : "";
    entry.bytes = bytes_in(item.path());
    entry.used = fs::last_write_time(item.path() / kJournal, error);
    if (error) entry.used = fs::file_time_type::min();
    entry.finished = is_finished(item.path() / kJournal);
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used > b.used; });
  return entries;
}

// The lock file stays, as FileLock asks: it is empty.
Result<bool> DatasetCache::remove(const Entry& entry) const {
  const auto lock = FileLock::try_acquire(directory_ / (entry.key + ".lock"));
  if (!lock.ok()) return false;
  GRAFT_CHECK_OK(remove_tree(directory_ / entry.key));
  return true;
}

Status DatasetCache::trim() const {
  uint64_t kept = 0;
  for (const Entry& entry : list()) {
    kept += static_cast<uint64_t>(entry.bytes);
    if (kept <= most_bytes_) continue;
    GRAFT_TRY(const bool removed, remove(entry));
    if (removed) kept -= static_cast<uint64_t>(entry.bytes);
  }
  return {};
}

Result<int64_t> DatasetCache::clear() const {
  int64_t bytes = 0;
  for (const Entry& entry : list()) {
    GRAFT_TRY(const bool removed, remove(entry));
    if (removed) bytes += entry.bytes;
  }
  return bytes;
}

}  // namespace graft::recipe
