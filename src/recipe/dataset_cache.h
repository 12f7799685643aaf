#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/result.h"

namespace graft::recipe {

// Prepared examples of data files, kept between runs: $GRAFT_HOME/cache/datasets/KEY/ (encoded_rows.h), with a lock
// file KEY.lock beside it. The ones used last stay, up to a number of bytes in all: GRAFT_DATASET_CACHE, for example
// "50GiB"; by default 20 GiB; 0: nothing is kept.
class DatasetCache {
 public:
  struct Entry {
    std::string key;
    std::string file;  // the data file, as it was called
    int64_t bytes = 0;
    std::filesystem::file_time_type used;
    bool finished = false;
  };

  // Held while an entry is written or opened. Reading goes on after it is released: files that are removed meanwhile
  // stay readable.
  struct Held {
    FileLock lock;
    std::filesystem::path directory;
  };

  // Nothing where GRAFT_DATASET_CACHE is 0. Errors: a value that is no number of bytes.
  static Result<std::optional<DatasetCache>> from_environment();
  DatasetCache(std::filesystem::path directory, uint64_t most_bytes)
      : directory_(std::move(directory)), most_bytes_(most_bytes) {}

  // Waits while another process holds the entry; `on_wait` is called once then. Marks it as used. Errors: kCancelled
  // where `stop` is set meanwhile.
  [[nodiscard]] Result<Held> hold(const std::string& key, const std::string& file, const std::function<void()>& on_wait,
                                  const std::atomic<bool>* stop) const;
  // Removes what was not used for the longest time, until the others fit. Entries that are held stay.
  Status trim() const;

  [[nodiscard]] std::vector<Entry> list() const;  // the one used last first
  Result<int64_t> clear() const;                  // removes all that are not held; the bytes of them

 private:
  Result<bool> remove(const Entry& entry) const;

  std::filesystem::path directory_;
  uint64_t most_bytes_;
};

// "1048576", "50MB", "1.5GiB".
std::optional<uint64_t> parse_byte_count(std::string_view text);

}  // namespace graft::recipe
