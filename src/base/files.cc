#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <random>
#include <system_error>

#include "base/file_errors.h"
#include "base/strings.h"

namespace graft {
namespace {

constexpr std::string_view kTemporaryMark = ".graft-tmp-";

// Beside the destination, so that the rename stays on one file system.
fs::path temporary_name(const fs::path& destination) {
  std::random_device entropy;
  const uint64_t tag = (uint64_t{entropy()} << 32) | entropy();
  return destination.parent_path() /
         ("." + destination.filename().string() + std::string(kTemporaryMark) + std::to_string(tag));
}

// A lock marks the temporary as in use, so that remove_stale_temporaries leaves it alone. It may have been removed
// between its creation and the lock: then the name leads elsewhere.
bool lock_and_check(int descriptor, const fs::path& path) {
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;  // file systems without locks
  struct stat mine{};
  struct stat named{};
  if (fstat(descriptor, &mine) != 0 || stat(path.c_str(), &named) != 0) return false;
  return mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

Status fsync_path(const fs::path& path, int flags) {
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) return system_error("cannot open", path, errno);
  const int failed = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  if (failed != 0 && failed != EINVAL) return system_error("cannot flush", path, failed);
  return {};
}

Status fsync_tree(const fs::path& root) {
  std::error_code error;
  fs::recursive_directory_iterator walk(root, error);
  for (const fs::recursive_directory_iterator end; !error && walk != end; walk.increment(error)) {
    if (walk->is_symlink(error)) continue;
    if (walk->is_directory(error)) {
      GRAFT_CHECK_OK(fsync_path(walk->path(), O_RDONLY | O_DIRECTORY));
    } else if (walk->is_regular_file(error)) {
      GRAFT_CHECK_OK(fsync_path(walk->path(), O_RDONLY));
    }
  }
  if (error) return system_error("cannot list", root, error.value());
  return fsync_path(root, O_RDONLY | O_DIRECTORY);
}

fs::path parent_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

fs::path without_trailing_slash(fs::path path) { return path.has_filename() ? path : path.parent_path(); }

}  // namespace

Result<std::string> read_file(const fs::path& path, uint64_t limit) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return system_error("cannot read", path, errno);
  struct stat info{};
  if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(descriptor);
    return invalid(path.string() + ": not a regular file");
  }
  std::string bytes;
  std::string chunk(size_t{1} << 16, '\0');
  while (true) {
    const ssize_t got = ::read(descriptor, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int failed = errno;
      close(descriptor);
      return system_error("cannot read", path, failed);
    }
    if (got == 0) break;
    bytes.append(chunk, 0, static_cast<size_t>(got));
    if (bytes.size() > limit) {
      close(descriptor);
      return invalid(path.string() + ": larger than the limit of " + std::to_string(limit) + " bytes");
    }
  }
  close(descriptor);
  return bytes;
}

Status write_file_atomic(const fs::path& path, std::string_view bytes) {
  GRAFT_TRY(AtomicFile file, AtomicFile::create(path));
  GRAFT_CHECK_OK(file.write(bytes));
  return file.commit();
}

Status make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return system_error("cannot create directory", path, error.value());
  return {};
}

Status fsync_directory(const fs::path& path) { return fsync_path(path, O_RDONLY | O_DIRECTORY); }

Status remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) return system_error("cannot remove", path, error.value());
  return {};
}

Result<uint64_t> free_disk_space(const fs::path& path) {
  std::error_code error;
  fs::path existing = fs::absolute(path, error);
  while (!error && !fs::exists(existing, error) && existing.has_relative_path()) existing = existing.parent_path();
  struct statvfs info{};
  if (statvfs(existing.c_str(), &info) != 0) return system_error("cannot ask for free space of", existing, errno);
  return uint64_t{info.f_bavail} * info.f_frsize;
}

bool is_safe_path(const std::string& path) {
  if (path.empty() || path.size() > 1024 || path.front() == '/' || printable(path, 4096) != path) return false;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = std::string_view(path).substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.find('\\') != std::string_view::npos) return false;
    begin = end + 1;
  }
  return true;
}

Result<fs::path> graft_home() {
  if (const char* home = std::getenv("GRAFT_HOME"); home != nullptr && *home != '\0') return fs::path(home);
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return fs::path(home) / ".graft";
  return invalid("neither GRAFT_HOME nor HOME is set: set GRAFT_HOME to the directory that shall hold models and jobs");
}

// ---- AtomicFile ----

AtomicFile::AtomicFile(fs::path path, fs::path temporary, int descriptor)
    : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

Result<AtomicFile> AtomicFile::create(fs::path path) {
  for (int attempt = 0; attempt < 8; ++attempt) {
    fs::path temporary = temporary_name(path);
    const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0) return system_error("cannot write", path, errno);
    if (lock_and_check(descriptor, temporary)) {
      return AtomicFile(std::move(path), std::move(temporary), descriptor);
    }
    close(descriptor);
  }
  return io_error(path.string() + ": cannot create a temporary file beside it");
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    abandon();
    path_ = std::move(other.path_);
    temporary_ = std::move(other.temporary_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

AtomicFile::~AtomicFile() { abandon(); }

void AtomicFile::abandon() {
  if (descriptor_ < 0) return;
  unlink(temporary_.c_str());
  close(descriptor_);
  descriptor_ = -1;
}

Status AtomicFile::write(std::string_view text) { return write(std::as_bytes(std::span(text.data(), text.size()))); }

Status AtomicFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0) return internal_error(path_.string() + ": written after commit");
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return system_error("cannot write", path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return {};
}

Status AtomicFile::commit() {
  if (descriptor_ < 0) return internal_error(path_.string() + ": committed twice");
  if (fsync(descriptor_) != 0) return system_error("cannot flush", path_, errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return system_error("cannot write", path_, errno);
  close(descriptor_);
  descriptor_ = -1;
  return fsync_directory(parent_of(path_));
}

// ---- AtomicDirectory ----

AtomicDirectory::AtomicDirectory(fs::path destination, fs::path temporary, int descriptor)
    : destination_(std::move(destination)), temporary_(std::move(temporary)), descriptor_(descriptor) {}

Result<AtomicDirectory> AtomicDirectory::create(fs::path destination) {
  destination = without_trailing_slash(std::move(destination));
  GRAFT_CHECK_OK(make_directories(parent_of(destination)));
  for (int attempt = 0; attempt < 8; ++attempt) {
    fs::path temporary = temporary_name(destination);
    if (mkdir(temporary.c_str(), 0777) != 0) return system_error("cannot create directory", destination, errno);
    const int descriptor = open(temporary.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return system_error("cannot open", temporary, errno);
    if (lock_and_check(descriptor, temporary)) {
      return AtomicDirectory(std::move(destination), std::move(temporary), descriptor);
    }
    close(descriptor);
  }
  return io_error(destination.string() + ": cannot create a temporary directory beside it");
}

AtomicDirectory::AtomicDirectory(AtomicDirectory&& other) noexcept
    : destination_(std::move(other.destination_)),
      temporary_(std::move(other.temporary_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicDirectory& AtomicDirectory::operator=(AtomicDirectory&& other) noexcept {
  if (this != &other) {
    abandon();
    destination_ = std::move(other.destination_);
    temporary_ = std::move(other.temporary_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

AtomicDirectory::~AtomicDirectory() { abandon(); }

void AtomicDirectory::release() {
  close(descriptor_);
  descriptor_ = -1;
}

void AtomicDirectory::abandon() {
  if (descriptor_ < 0) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  release();
}

Status AtomicDirectory::publish() {
  if (descriptor_ < 0) return internal_error(destination_.string() + ": published twice");
  GRAFT_CHECK_OK(fsync_tree(temporary_));
  if (rename(temporary_.c_str(), destination_.c_str()) != 0) {
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) {
      return conflict(destination_.string() + ": exists already; remove it or choose another place");
    }
    return system_error("cannot create", destination_, errno);
  }
  release();
  return fsync_directory(parent_of(destination_));
}

Status AtomicDirectory::replace() {
  if (descriptor_ < 0) return internal_error(destination_.string() + ": published twice");
  if (!fs::exists(fs::symlink_status(destination_))) return publish();
  GRAFT_CHECK_OK(fsync_tree(temporary_));
  // One step, so that there is never a moment without a complete directory at the destination.
  if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, destination_.c_str(), RENAME_EXCHANGE) != 0) {
    return system_error("cannot replace", destination_, errno);
  }
  GRAFT_CHECK_OK(fsync_directory(parent_of(destination_)));
  release();
  return remove_tree(temporary_);  // now the old one
}

Status remove_stale_temporaries(const fs::path& directory) {
  std::error_code error;
  fs::directory_iterator walk(directory, error);
  if (error == std::errc::no_such_file_or_directory) return {};
  for (const fs::directory_iterator end; !error && walk != end; walk.increment(error)) {
    const fs::path path = walk->path();
    if (path.filename().string().find(kTemporaryMark) == std::string::npos) continue;
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0) continue;
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
    close(descriptor);
  }
  if (error) return system_error("cannot list", directory, error.value());
  return {};
}

}  // namespace graft
