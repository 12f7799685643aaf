#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "formats/tensor.h"

// The safetensors format (github.com/huggingface/safetensors): u64 little-endian header length, a JSON header that
// maps names to {dtype, shape, data_offsets}, then the data.
namespace graft::formats {

using StringMap = std::map<std::string, std::string>;

struct SafetensorsContents {
  StringMap metadata;               // "__metadata__"
  std::vector<TensorView> tensors;  // in the order of their data; views into the bytes that were parsed
};

// Strict: the header is at most 100 MB of JSON without duplicate keys; every tensor's bytes are its shape times its
// dtype; together they cover the data without gaps or overlaps. Data may be unaligned for its dtype: copy, don't cast.
Result<SafetensorsContents> parse_safetensors(std::span<const std::byte> file);

// One mapped file. Views live as long as this, or what it was moved to.
class SafetensorsFile {
 public:
  static Result<SafetensorsFile> open(const std::filesystem::path& path, FileAccess access = FileAccess::kMap);

  [[nodiscard]] const std::vector<TensorView>& tensors() const { return contents_.tensors; }
  [[nodiscard]] const StringMap& metadata() const { return contents_.metadata; }
  [[nodiscard]] const TensorView* find(std::string_view name) const;  // null where there is none
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return map_.bytes(); }

 private:
  SafetensorsFile(std::filesystem::path path, MappedFile map, SafetensorsContents contents);

  std::filesystem::path path_;
  MappedFile map_;
  SafetensorsContents contents_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace graft::formats
