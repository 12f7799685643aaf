#include "training/append_whole.h"

#include <unistd.h>

#include <cerrno>

#include "base/file_errors.h"

namespace graft::training {

Status append_whole(int descriptor, int64_t& size, std::string_view bytes, const std::filesystem::path& path) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t put = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      const int failed = errno;
      // Should this fail too, the next open of the file cuts the rest off.
      if (::ftruncate(descriptor, size) == 0) static_cast<void>(::lseek(descriptor, size, SEEK_SET));
      return system_error("cannot write", path, failed);
    }
    done += static_cast<size_t>(put);
  }
  size += static_cast<int64_t>(bytes.size());
  return {};
}

}  // namespace graft::training
