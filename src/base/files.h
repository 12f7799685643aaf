#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

// Whole files and directories that appear complete or not at all. "Durable" below means that the bytes and the
// directory entry were fsync'ed, so that they survive a power cut. Errors name the path and the system's reason.
namespace graft {

namespace fs = std::filesystem;

constexpr uint64_t kDefaultReadLimit = uint64_t{256} << 20;

// The whole file; refused where it is larger than `limit` bytes or not a regular file.
Result<std::string> read_file(const fs::path& path, uint64_t limit = kDefaultReadLimit);

// Replaces the file in one step, durably. Readers see the old bytes or the new ones.
Status write_file_atomic(const fs::path& path, std::string_view bytes);

Status make_directories(const fs::path& path);
Status fsync_directory(const fs::path& path);
Status remove_tree(const fs::path& path);  // nothing there is fine

// Bytes that this user may still write on the file system that holds `path` (or its nearest existing parent).
Result<uint64_t> free_disk_space(const fs::path& path);

// $GRAFT_HOME, by default ~/.graft. Not created here.
Result<fs::path> graft_home();

// True for a relative path of printable names that stays below where it starts: one from outside may be joined.
bool is_safe_path(const std::string& path);

// A file written in pieces beside its place, and moved there by commit(). Without commit() nothing is left behind.
class AtomicFile {
 public:
  static Result<AtomicFile> create(fs::path path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  Status commit();  // durable; once only

 private:
  AtomicFile(fs::path path, fs::path temporary, int descriptor);
  void abandon();

  fs::path path_;
  fs::path temporary_;
  int descriptor_ = -1;
};

// A directory filled at path() and moved to its place by publish(). Without publish() nothing is left behind.
class AtomicDirectory {
 public:
  static Result<AtomicDirectory> create(fs::path destination);
  AtomicDirectory(AtomicDirectory&& other) noexcept;
  AtomicDirectory& operator=(AtomicDirectory&& other) noexcept;
  ~AtomicDirectory();

  [[nodiscard]] const fs::path& path() const { return temporary_; }
  Status publish();  // durable; a conflict where the destination exists and is not empty
  Status replace();  // durable; takes the place of what is there, which is removed

 private:
  AtomicDirectory(fs::path destination, fs::path temporary, int descriptor);
  void abandon();
  void release();

  fs::path destination_;
  fs::path temporary_;
  int descriptor_ = -1;
};

// Removes what killed processes left of AtomicFile and AtomicDirectory directly inside `directory`.
// Those of living processes are locked and stay.
Status remove_stale_temporaries(const fs::path& directory);

}  // namespace graft
