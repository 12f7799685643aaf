#include "training/line_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include "base/file_errors.h"
#include "training/append_whole.h"

namespace graft::training {
namespace {

// The offset behind the last line end before `size`; 0 where there is none.
Result<int64_t> end_of_last_line(const std::filesystem::path& path, int descriptor, int64_t size) {
  std::array<char, 4096> block;
  while (size > 0) {
    const int64_t begin = std::max<int64_t>(0, size - static_cast<int64_t>(block.size()));
    const ssize_t got = ::pread(descriptor, block.data(), static_cast<size_t>(size - begin), begin);
    if (got < 0) return system_error("cannot read", path, errno);
    if (got != size - begin) return io_error(path.string() + ": changed while it was read");
    const size_t at = std::string_view(block.data(), static_cast<size_t>(got)).rfind('\n');
    if (at != std::string_view::npos) return begin + static_cast<int64_t>(at) + 1;
    size = begin;
  }
  return 0;
}

}  // namespace

Result<LineLog> LineLog::open(std::filesystem::path path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) return system_error("cannot open", path, errno);
  LineLog log(std::move(path), descriptor);
  const off_t size = ::lseek(descriptor, 0, SEEK_END);
  if (size < 0) return system_error("cannot open", log.path_, errno);
  GRAFT_TRY(log.size_, end_of_last_line(log.path_, descriptor, size));
  if (log.size_ != size && ::ftruncate(descriptor, log.size_) != 0) {
    return system_error("cannot cut the torn last line of", log.path_, errno);
  }
  if (::lseek(descriptor, log.size_, SEEK_SET) < 0) return system_error("cannot open", log.path_, errno);
  return log;
}

LineLog::LineLog(LineLog&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

LineLog& LineLog::operator=(LineLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

LineLog::~LineLog() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status LineLog::append(std::string_view line) {
  return append_whole(descriptor_, size_, std::string(line) + '\n', path_);
}

Status LineLog::sync() {
  if (::fdatasync(descriptor_) != 0) return system_error("cannot flush", path_, errno);
  return {};
}

}  // namespace graft::training
