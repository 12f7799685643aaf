#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/result.h"

namespace graft {

// How a file's bytes come into memory. kMap: shared with every process that maps it, but a file that is truncated
// meanwhile ends this process (SIGBUS). For what graft prepared itself, which is replaced by rename and never rewritten
// in place, and for the files of a command that ends soon. kCopy: for files that others may rewrite while a server
// runs.
enum class FileAccess { kMap, kCopy };

// The bytes of a whole file, read-only. Movable owner: spans from bytes() stay valid while it, or what it was moved to,
// lives.
class MappedFile {
 public:
  // Errors of kCopy: invalid where the file became shorter while it was read.
  static Result<MappedFile> open(const std::filesystem::path& path, FileAccess access = FileAccess::kMap);
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
