#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "formats/safetensors.h"
#include "formats/tensor.h"

namespace graft::formats {

struct TensorDeclaration {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
};

struct SafetensorsWriterOptions {
  StringMap metadata;
  // Starts every tensor's data at a multiple of 64 bytes of the file, by U8 tensors named "__padding__.N" in between,
  // which graft's reader hides: the format itself allows no gaps. The data as a whole is always so aligned.
  bool align_tensors = false;
};

// Writes a safetensors file in one pass with bounded memory, so that it may be larger than memory. The file appears
// under its name with commit(), durably and complete; otherwise nothing is left behind.
class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> create(const std::filesystem::path& path, std::vector<TensorDeclaration> tensors,
                                          const SafetensorsWriterOptions& options = {});

  // Appends to the data of `name`. Tensors come in the declared order; one may come in several pieces.
  Status write(std::string_view name, std::span<const std::byte> bytes);
  Status commit();

 private:
  struct Pending {
    std::string name;
    int64_t bytes = 0;
  };
  SafetensorsWriter(std::filesystem::path path, AtomicFile file, std::vector<Pending> pending);
  Status write_padding();

  std::filesystem::path path_;
  AtomicFile file_;
  std::vector<Pending> pending_;
  size_t next_ = 0;      // index in pending_
  int64_t written_ = 0;  // bytes of pending_[next_]
};

// Writes small files whose tensors are in memory.
Status write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                         const SafetensorsWriterOptions& options = {});

}  // namespace graft::formats
