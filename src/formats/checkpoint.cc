#include "formats/checkpoint.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/safetensors.h"
#include "formats/torch_file.h"

namespace graft::formats {
namespace {

using nlohmann::json;

class SafetensorsWeights final : public WeightFile {
 public:
  explicit SafetensorsWeights(SafetensorsFile file) : file_(std::move(file)) {}
  const std::vector<TensorView>& tensors() const override { return file_.tensors(); }
  const TensorView* find(std::string_view name) const override { return file_.find(name); }
  const fs::path& path() const override { return file_.path(); }
  std::span<const std::byte> bytes() const override { return file_.bytes(); }

 private:
  SafetensorsFile file_;
};

// A shard's name comes from a file that may be hostile: it must stay in the checkpoint's directory.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

Result<StringMap> read_weight_map(const fs::path& path) {
  GRAFT_TRY(const std::string text, read_file(path));
  auto parsed = parse_json(text);
  if (!parsed.ok()) return at(path.string(), parsed.error());
  const json& index = *parsed;
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return invalid(path.string() + ": no weight_map");
  }
  StringMap map;
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      return invalid(path.string() + ": tensor '" + printable(name) + "' does not name a file of this directory");
    }
    map[name] = file.get<std::string>();
  }
  if (map.empty()) return invalid(path.string() + ": weight_map is empty");
  return map;
}

}  // namespace

Result<std::unique_ptr<WeightFile>> open_safetensors(const fs::path& path) {
  return open_safetensors(path, FileAccess::kMap);
}

Result<std::unique_ptr<WeightFile>> open_safetensors(const fs::path& path, FileAccess access) {
  GRAFT_TRY(SafetensorsFile file, SafetensorsFile::open(path, access));
  return std::unique_ptr<WeightFile>(std::make_unique<SafetensorsWeights>(std::move(file)));
}

Result<Checkpoint> Checkpoint::open_single(const fs::path& path, OpenFile open_file) {
  Checkpoint checkpoint;
  GRAFT_TRY(std::unique_ptr<WeightFile> file, open_file(path));
  for (const TensorView& tensor : file->tensors()) checkpoint.file_of_[tensor.name] = 0;
  checkpoint.files_.push_back(std::move(file));
  return checkpoint;
}

Result<Checkpoint> Checkpoint::open_shards(const fs::path& index, OpenFile open_file) {
  Checkpoint checkpoint;
  GRAFT_TRY(const StringMap weight_map, read_weight_map(index));
  std::map<std::string, size_t> opened;
  for (const auto& [name, file_name] : weight_map) {
    auto shard = opened.find(file_name);
    if (shard == opened.end()) {
      GRAFT_TRY(std::unique_ptr<WeightFile> file, open_file(index.parent_path() / file_name));
      shard = opened.emplace(file_name, checkpoint.files_.size()).first;
      checkpoint.files_.push_back(std::move(file));
    }
    if (checkpoint.files_[shard->second]->find(name) == nullptr) {
      return invalid(index.string() + ": tensor '" + printable(name) + "' is not in " + file_name);
    }
    checkpoint.file_of_[name] = shard->second;
  }
  return checkpoint;
}

Result<Checkpoint> Checkpoint::open(const fs::path& directory) {
  struct Kind {
    const char* name;
    OpenFile open_file;
  };
  std::error_code error;
  for (const Kind& kind : {Kind{"model.safetensors", open_safetensors}, Kind{"pytorch_model.bin", open_torch}}) {
    const fs::path single = directory / kind.name;
    const fs::path index = directory / (std::string(kind.name) + ".index.json");
    if (fs::exists(single, error)) return open_single(single, kind.open_file);
    if (fs::exists(index, error)) return open_shards(index, kind.open_file);
  }
  return not_found(directory.string() +
                   ": no weights; there is neither model.safetensors nor pytorch_model.bin, nor the index.json of one");
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : file_of_) names.push_back(name);
  return names;
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto found = file_of_.find(name);
  return found == file_of_.end() ? nullptr : files_[found->second]->find(name);
}

}  // namespace graft::formats
