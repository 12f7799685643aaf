#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace graft {

// A whole file, mapped read-only and shared with every process that maps it. Movable owner: spans from bytes() stay
// valid while it, or what it was moved to, lives. The file must not be truncated meanwhile (SIGBUS): what graft
// prepares itself is replaced by rename, never rewritten in place.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  void unmap();

  const std::byte* data_ = nullptr;  // null for an empty file
  size_t size_ = 0;
};

}  // namespace graft
