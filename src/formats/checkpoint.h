#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/result.h"
#include "formats/tensor.h"

namespace graft::formats {

// A mapped file of named tensors, of whatever format.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  [[nodiscard]] virtual const std::vector<TensorView>& tensors() const = 0;
  [[nodiscard]] virtual const TensorView* find(std::string_view name) const = 0;  // null where there is none
  [[nodiscard]] virtual const std::filesystem::path& path() const = 0;
  [[nodiscard]] virtual std::span<const std::byte> bytes() const = 0;  // the whole file
};

Result<std::unique_ptr<WeightFile>> open_safetensors(const std::filesystem::path& path);  // see safetensors.h
Result<std::unique_ptr<WeightFile>> open_safetensors(const std::filesystem::path& path, FileAccess access);

// The weights in a Hugging Face directory: the first that is there of
//   model.safetensors; model.safetensors.index.json and the shards that it names;
//   pytorch_model.bin; pytorch_model.bin.index.json and the shards that it names
// which is transformers' order.
class Checkpoint {
 public:
  static Result<Checkpoint> open(const std::filesystem::path& directory);

  [[nodiscard]] std::vector<std::string> names() const;               // sorted
  [[nodiscard]] const TensorView* find(std::string_view name) const;  // null where there is none
  [[nodiscard]] const std::vector<std::unique_ptr<WeightFile>>& files() const { return files_; }

 private:
  using OpenFile = Result<std::unique_ptr<WeightFile>> (*)(const std::filesystem::path& path);
  static Result<Checkpoint> open_single(const std::filesystem::path& path, OpenFile open_file);
  static Result<Checkpoint> open_shards(const std::filesystem::path& index, OpenFile open_file);

  std::vector<std::unique_ptr<WeightFile>> files_;
  std::map<std::string, size_t, std::less<>> file_of_;  // tensor name -> index in files_
};

}  // namespace graft::formats
