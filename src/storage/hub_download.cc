#include "storage/hub_download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "base/file_errors.h"
#include "base/files.h"

namespace graft::storage {
namespace {

std::string bytes_text(uint64_t bytes) {
  if (bytes >= uint64_t{1} << 30) return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

// BLOB.incomplete, open at its end.
class PartialFile {
 public:
  static Result<PartialFile> open(const fs::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor < 0) return system_error("cannot write", path, errno);
    PartialFile file(path, descriptor);
    struct stat status{};
    if (fstat(descriptor, &status) != 0) return system_error("cannot read", path, errno);
    file.size_ = status.st_size;
    return file;
  }
  PartialFile(PartialFile&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  [[nodiscard]] int64_t size() const { return size_; }

  Status append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return system_error("cannot write", path_, errno);
      bytes.remove_prefix(static_cast<size_t>(written));
      size_ += written;
    }
    return {};
  }

  Status clear() {
    if (ftruncate(descriptor_, 0) != 0) return system_error("cannot write", path_, errno);
    size_ = 0;
    return {};
  }

  Status sync() const {
    if (fsync(descriptor_) != 0) return system_error("cannot write", path_, errno);
    return {};
  }

 private:
  PartialFile(fs::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}

  fs::path path_;
  int descriptor_;
  int64_t size_ = 0;
};

class Download {
 public:
  Download(const HubClient& client, const HubSettings& settings, const std::string& commit, const HubFile& file,
           PartialFile& partial, const std::function<void(int64_t)>& on_bytes)
      : client_(client),
        settings_(settings),
        commit_(commit),
        file_(file),
        partial_(partial),
        on_bytes_(on_bytes),
        next_begin_(partial.size()) {}

  Status run() {
    const int64_t chunks = (file_.size - partial_.size() + settings_.chunk_bytes - 1) / settings_.chunk_bytes;
    const int64_t workers = std::min<int64_t>(chunks, settings_.connections);
    std::vector<std::thread> threads;
    for (int64_t i = 1; i < workers; ++i) threads.emplace_back([this] { work(); });
    work();
    for (std::thread& thread : threads) thread.join();
    if (range_ignored_) return run_whole();
    return failed_;
  }

 private:
  // Fetches one chunk after the other, and appends each when its turn has come.
  void work() {
    std::string bytes;
    while (true) {
      int64_t begin = 0;
      {
        const std::lock_guard lock(mutex_);
        if (stopped() || next_begin_ >= file_.size) return;
        begin = next_begin_;
        next_begin_ = std::min(begin + settings_.chunk_bytes, file_.size);
      }
      const int64_t end = std::min(begin + settings_.chunk_bytes, file_.size);
      Status status = fetch_chunk(begin, end, bytes);
      std::unique_lock lock(mutex_);
      turn_.wait(lock, [&] { return stopped() || partial_.size() == begin || !status.ok(); });
      // Of a chunk that failed, its beginning is kept if it follows what is there.
      if (!stopped() && partial_.size() == begin) {
        const Status written = partial_.append(bytes);
        if (status.ok()) status = written;
        on_bytes_(partial_.size() - begin);
      }
      if (!status.ok() && failed_.ok()) failed_ = status;
      turn_.notify_all();
    }
  }

  [[nodiscard]] bool stopped() const { return !failed_.ok() || range_ignored_; }

  // [begin, end) into `bytes`, over as many connections as it takes.
  Status fetch_chunk(int64_t begin, int64_t end, std::string& bytes) {
    bytes.clear();
    for (int attempt = 0; begin + static_cast<int64_t>(bytes.size()) < end;) {
      const size_t before = bytes.size();
      GRAFT_TRY(const HubClient::Piece piece,
                client_.read(commit_, file_, begin + static_cast<int64_t>(before), end, [&](std::string_view more) {
                  bytes += more;
                  return true;
                }));
      if (piece.outcome == HubClient::Outcome::kDone) return {};
      if (piece.outcome == HubClient::Outcome::kRangeIgnored) {
        const std::lock_guard lock(mutex_);
        range_ignored_ = true;
        return {};
      }
      attempt = bytes.size() > before ? 0 : attempt + 1;
      if (attempt >= settings_.attempts) return given_up(piece);
      client_.pause(attempt, piece.pause);
    }
    return {};
  }

  Error given_up(const HubClient::Piece& piece) const {
    return overloaded(fmt::format("gave up after {} attempts: {}; what has come is kept, try again to go on",
                                  settings_.attempts, piece.why));
  }

  // For hubs that know no ranges: from the beginning, in one go.
  Status run_whole() {
    for (int attempt = 0;; ++attempt) {
      on_bytes_(-partial_.size());
      GRAFT_CHECK_OK(partial_.clear());
      Status written;
      auto piece = client_.read(commit_, file_, 0, file_.size, [&](std::string_view more) {
        written = partial_.append(more);
        on_bytes_(static_cast<int64_t>(more.size()));
        return written.ok();
      });
      GRAFT_CHECK_OK(written);
      if (!piece.ok()) return piece.error();
      if (piece->outcome == HubClient::Outcome::kDone) return {};
      if (attempt + 1 >= settings_.attempts) return given_up(*piece);
      client_.pause(attempt, piece->pause);
    }
  }

  const HubClient& client_;
  const HubSettings& settings_;
  const std::string& commit_;
  const HubFile& file_;
  PartialFile& partial_;  // this and what follows: under the mutex
  const std::function<void(int64_t)>& on_bytes_;
  int64_t next_begin_;
  Status failed_;
  bool range_ignored_ = false;
  std::mutex mutex_;
  std::condition_variable turn_;
};

Status check_space(const HubFile& file, int64_t have, const fs::path& blob, const std::string& place) {
  GRAFT_TRY(const uint64_t free, free_disk_space(blob));
  const auto needed = static_cast<uint64_t>(std::max<int64_t>(file.size - have, 0));
  if (needed <= free) return {};
  return io_error(
      fmt::format("{}: {} needs {} more in {}, but only {} are free; free some space, or set HF_HUB_CACHE to "
                  "a larger disk",
                  place, file.name, bytes_text(needed), blob.parent_path().string(), bytes_text(free)));
}

}  // namespace

Status fetch_blob(const HubClient& client, const HubSettings& settings, const std::string& commit, const HubFile& file,
                  const fs::path& blob, const std::function<void(int64_t)>& on_bytes) {
  const fs::path incomplete = blob.string() + ".incomplete";
  GRAFT_CHECK_OK(make_directories(blob.parent_path()));
  for (bool resumed = true; resumed;) {
    GRAFT_TRY(PartialFile partial, PartialFile::open(incomplete));
    if (partial.size() > file.size) GRAFT_CHECK_OK(partial.clear());
    GRAFT_CHECK_OK(check_space(file, partial.size(), blob, client.place()));
    resumed = partial.size() > 0;
    on_bytes(partial.size());
    GRAFT_CHECK_OK(Download(client, settings, commit, file, partial, on_bytes).run());
    GRAFT_CHECK_OK(partial.sync());
    constexpr size_t kSha256 = 64;
    std::string digest = file.etag;
    if (file.etag.size() == kSha256) {
      GRAFT_TRY(digest, sha256_file(incomplete));
    }
    if (digest == file.etag) {
      std::error_code error;
      fs::rename(incomplete, blob, error);
      if (error) return system_error("cannot rename", incomplete, error.value());
      return fsync_directory(blob.parent_path());
    }
    // The beginning that was there may be what is wrong: once more without it.
    on_bytes(-partial.size());
    std::error_code ignored;
    fs::remove(incomplete, ignored);
  }
  return invalid(client.place() + ": " + file.name +
                 ": what came is not what the hub announces (SHA-256 differs); it was " +
                 "thrown away. Try again; if it stays so, a proxy in between changes it");
}

}  // namespace graft::storage
