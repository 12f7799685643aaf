#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_source.h"
#include "formats/model_spec.h"

// The models that `graft import` has taken in: HOME/models/NAME/
//   model.json                          name, spec, source, digest, time
//   tokenizer.json, chat_template.jinja
//   prepared/VARIANT/weights.safetensors   the kernels' form of the weights, made once per dtype and layout
namespace graft::storage {

// What tells a file from a changed one without reading it.
struct FileStamp {
  std::string path;
  int64_t size = 0;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;  // ctime: a program cannot set it back
  int64_t inode = 0;
  bool operator==(const FileStamp&) const = default;
};

struct StoredModel {
  std::string name;
  std::filesystem::path directory;
  formats::ModelSpec spec;
  std::map<std::string, std::string> special_tokens;  // "bos_token" -> text, for templates
  bool clean_up_spaces = false;                       // how the tokenizer decodes
  std::filesystem::path source;                       // absolute
  std::string digest;                                 // ModelSource::digest(): the identity of the model
  std::string created;                                // UTC, "2026-01-31T12:00:00Z"
  std::vector<FileStamp> source_files;

  [[nodiscard]] Result<std::string> tokenizer_json() const;
  [[nodiscard]] Result<std::string> chat_template() const;                          // empty where there is none
  [[nodiscard]] Result<std::map<std::string, std::string>> chat_templates() const;  // by name, that one as "default"
  [[nodiscard]] std::vector<std::string> prepared_variants() const;                 // those that are there, sorted
};

struct AddedModel {
  StoredModel model;
  bool already_there = false;
};

// Safe between processes: whatever changes is locked and appears in one step.
class ModelStore {
 public:
  static Result<ModelStore> open(const std::filesystem::path& home);
  static Result<ModelStore> open_default();  // $GRAFT_HOME, by default ~/.graft

  // Takes in a Hugging Face directory or a .gguf file under `name`, by default the name of the file or directory. The
  // same model again is no change; another model under a taken name is a conflict.
  Result<AddedModel> add(const std::filesystem::path& source, const std::optional<std::string>& name = {}) const;

  // By name; or by the path of a source that was added and has not changed since.
  [[nodiscard]] Result<StoredModel> find(const std::string& name_or_path) const;
  [[nodiscard]] Result<std::vector<StoredModel>> list() const;  // by name; damaged entries are logged and left out
  Status remove(const std::string& name) const;

  // Writes the prepared weights of an opened source to a file that does not exist yet.
  using Prepare = std::function<Status(const formats::ModelSource& source, const std::filesystem::path& file)>;

  // The prepared weights of `variant`, such as "bfloat16-panel16-v1" (dtype and layout version). Made by `prepare`
  // where they are not there: by one process at a time, the others wait. The source must still be what was added.
  Result<std::filesystem::path> prepared(const StoredModel& model, const std::string& variant,
                                         const Prepare& prepare) const;

  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }  // HOME/models

 private:
  explicit ModelStore(std::filesystem::path directory) : directory_(std::move(directory)) {}

  std::filesystem::path directory_;
};

}  // namespace graft::storage
