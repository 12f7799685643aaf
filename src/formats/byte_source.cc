#include "formats/byte_source.h"

#include <cerrno>
#include <cstdio>

#include "base/file_errors.h"

namespace graft::formats {

Result<ByteSource> ByteSource::open(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return invalid(path.string() + ": a directory, not a file");
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) return system_error("cannot read", path, errno);
  ByteSource source(path, file);
  source.skip_byte_order_mark();
  return source;
}

Status ByteSource::status() const {
  if (error_ != 0) return system_error("cannot read", path_, error_);
  return {};
}

bool ByteSource::refill() {
  constexpr size_t kChunk = size_t{1} << 18;
  if (error_ != 0) return false;
  buffer_.resize(kChunk);
  position_ = 0;
  size_ = std::fread(buffer_.data(), 1, kChunk, file_.get());
  if (size_ == 0 && std::ferror(file_.get()) != 0) error_ = errno;
  return size_ > 0;
}

void ByteSource::skip_byte_order_mark() {
  if (peek() == 0xEF && size_ >= 3 && buffer_.compare(0, 3, "\xEF\xBB\xBF") == 0) position_ = 3;
}

}  // namespace graft::formats
