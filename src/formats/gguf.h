#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "formats/tensor.h"

// GGUF, version 3 (ggml's docs/gguf.md), little-endian.
namespace graft::formats {

// A metadata value. Integers of every width are widened; strings are views into the file.
struct GgufValue {
  using Array = std::variant<std::vector<bool>, std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>,
                             std::vector<std::string_view>, std::vector<GgufValue>>;
  std::variant<bool, int64_t, uint64_t, double, std::string_view, Array> value;
};

// Metadata by key, with typed access. Errors name the key.
class GgufMetadata {
 public:
  void insert(std::string key, GgufValue value) { values_[std::move(key)] = std::move(value); }
  [[nodiscard]] bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  [[nodiscard]] const GgufValue* find(std::string_view key) const;  // null where absent

  [[nodiscard]] Result<int64_t> integer(std::string_view key) const;
  [[nodiscard]] Result<int64_t> integer_or(std::string_view key, int64_t fallback) const;
  [[nodiscard]] Result<double> number(std::string_view key) const;
  [[nodiscard]] Result<double> number_or(std::string_view key, double fallback) const;
  [[nodiscard]] Result<bool> boolean_or(std::string_view key, bool fallback) const;
  [[nodiscard]] Result<std::string> text(std::string_view key) const;
  [[nodiscard]] Result<std::string> text_or(std::string_view key, std::string_view fallback) const;
  [[nodiscard]] Result<const std::vector<std::string_view>*> texts(std::string_view key) const;
  [[nodiscard]] Result<std::vector<int64_t>> integers(std::string_view key) const;
  [[nodiscard]] Result<std::vector<double>> numbers(std::string_view key) const;  // finite

 private:
  std::map<std::string, GgufValue, std::less<>> values_;
};

struct GgufContents {
  GgufMetadata metadata;
  std::vector<TensorView> tensors;  // shapes row-major (GGUF's dimensions reversed); views into the bytes parsed
};

// Everything is checked before it is used: counts and lengths against the bytes that are left, UTF-8, duplicate keys
// and names, shapes, alignment, and that no two tensors overlap. Tensor types that cannot be read are refused by name.
Result<GgufContents> parse_gguf(std::span<const std::byte> file);

// A model's file, or all parts of a split model, mapped. Views and strings live as long as this, or what it was moved
// to.
//
// The parts of a split model are NAME-00001-of-0000N.gguf to NAME-0000N-of-0000N.gguf, as llama-gguf-split makes them;
// opening any of them opens all. The metadata is the first part's. "split.no" (from 0) and "split.count" must agree
// with the names, and "split.tensors.count" with the tensors of all parts together.
class GgufFile {
 public:
  struct Part {
    std::filesystem::path path;
    MappedFile map;
  };

  static Result<GgufFile> open(const std::filesystem::path& path);

  [[nodiscard]] const GgufMetadata& metadata() const { return metadata_; }
  [[nodiscard]] const std::vector<TensorView>& tensors() const { return tensors_; }
  [[nodiscard]] const TensorView* find(std::string_view name) const;  // null where there is none
  [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }

 private:
  GgufFile() = default;
  Status add_part(const std::filesystem::path& path, MappedFile map, GgufContents contents);

  std::vector<Part> parts_;
  GgufMetadata metadata_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace graft::formats
