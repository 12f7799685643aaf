#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/result.h"
#include "formats/safetensors_writer.h"
#include "formats/tensor.h"

namespace graft::formats {

// GGUF metadata to be written, in the order in which it is added. A key may be added once.
class GgufFields {
 public:
  void add_u32(std::string_view key, uint32_t value);
  void add_f32(std::string_view key, float value);
  void add_bool(std::string_view key, bool value);
  void add_text(std::string_view key, std::string_view value);
  void add_texts(std::string_view key, const std::vector<std::string>& values);
  void add_i32s(std::string_view key, const std::vector<int32_t>& values);
  void add_f32s(std::string_view key, const std::vector<float>& values);

  [[nodiscard]] bool has(std::string_view key) const { return keys_.find(key) != keys_.end(); }
  [[nodiscard]] uint64_t count() const { return keys_.size(); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void start(std::string_view key, uint32_t type);
  void start_array(std::string_view key, uint32_t type, uint64_t count);

  std::string bytes_;
  std::set<std::string, std::less<>> keys_;
};

// Writes a GGUF file (version 3, little-endian, tensors aligned to 32 bytes) in one pass with bounded memory. The file
// appears under its name with commit(), durably and complete; otherwise nothing is left behind.
class GgufWriter {
 public:
  // Shapes are row-major, as everywhere here; the file has GGUF's reversed order.
  static Result<GgufWriter> create(const std::filesystem::path& path, const GgufFields& fields,
                                   std::vector<TensorDeclaration> tensors);

  // Appends to the data of `name`. Tensors come in the declared order; one may come in several pieces.
  Status write(std::string_view name, std::span<const std::byte> bytes);
  Status commit();

 private:
  struct Pending {
    std::string name;
    uint64_t bytes = 0;
  };
  GgufWriter(std::filesystem::path path, AtomicFile file, std::vector<Pending> pending);
  Status finish_tensor();

  std::filesystem::path path_;
  AtomicFile file_;
  std::vector<Pending> pending_;
  size_t next_ = 0;       // index in pending_
  uint64_t written_ = 0;  // bytes of pending_[next_]
};

}  // namespace graft::formats
