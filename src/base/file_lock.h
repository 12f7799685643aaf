#pragma once

#include <chrono>
#include <filesystem>

#include "base/result.h"

namespace graft {

// An advisory lock between processes (and between objects of one process), held while the object lives and released
// by the kernel when the process dies. The lock file stays behind: removing it would let two holders in.
class FileLock {
 public:
  // Waits up to `timeout`, then a conflict that names the file. Creates the file, not its directory.
  static Result<FileLock> acquire(const std::filesystem::path& path,
                                  std::chrono::milliseconds timeout = std::chrono::hours(24));
  static Result<FileLock> try_acquire(const std::filesystem::path& path) {
    return acquire(path, std::chrono::milliseconds(0));
  }
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  void release();

  int descriptor_ = -1;
};

}  // namespace graft
