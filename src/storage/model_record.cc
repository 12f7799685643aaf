#include "storage/model_record.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/file_errors.h"
#include "base/files.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/json_fields.h"
#include "formats/model_spec_json.h"

namespace graft::storage {
namespace {

using formats::JsonFields;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kFormat = 1;
constexpr std::array<std::string_view, 9> kKeys = {
    "format", "name", "source", "digest", "created", "spec", "special_tokens", "clean_up_spaces", "source_files"};

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

ordered_json stamp_json(const FileStamp& stamp) {
  return {{"path", stamp.path},
          {"size", stamp.size},
          {"modified_ns", stamp.modified_ns},
          {"changed_ns", stamp.changed_ns},
          {"inode", stamp.inode}};
}

Result<FileStamp> stamp_from_json(const json& value) {
  if (!value.is_object()) return invalid("key 'source_files' must hold objects");
  const JsonFields fields(value);
  FileStamp stamp;
  GRAFT_TRY(stamp.path, fields.text("path"));
  GRAFT_TRY(stamp.size, fields.integer("size"));
  GRAFT_TRY(stamp.modified_ns, fields.integer("modified_ns"));
  GRAFT_TRY(stamp.changed_ns, fields.integer("changed_ns"));
  GRAFT_TRY(stamp.inode, fields.integer("inode"));
  return stamp;
}

Result<StoredModel> from_json(const json& value) {
  if (!value.is_object()) return invalid("must hold an object");
  const std::vector<std::string> known(kKeys.begin(), kKeys.end());
  for (const auto& [key, unused] : value.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return invalid("unknown key '" + printable(key) + "'" + suggestion(key, known));
    }
  }
  const JsonFields fields(value);
  GRAFT_TRY(const int64_t format, fields.integer("format"));
  if (format != kFormat)
    return unsupported("written by another version of graft; remove the model and import it again");
  StoredModel model;
  GRAFT_TRY(model.name, fields.text("name"));
  GRAFT_TRY(const std::string source, fields.text("source"));
  model.source = source;
  GRAFT_TRY(model.digest, fields.text("digest"));
  GRAFT_TRY(model.created, fields.text("created"));
  if (!fields.has("spec")) return invalid("key 'spec' is missing");
  GRAFT_TRY(model.spec, formats::spec_from_json(value["spec"]));
  const json* tokens = fields.find("special_tokens");
  if (tokens == nullptr || !tokens->is_object()) return invalid("key 'special_tokens' must be an object");
  for (const auto& [name, text] : tokens->items()) {
    if (!text.is_string()) return invalid("key 'special_tokens' must hold strings");
    model.special_tokens[name] = text.get<std::string>();
  }
  GRAFT_TRY(model.clean_up_spaces, fields.boolean_or("clean_up_spaces", false));
  const json* files = fields.find("source_files");
  if (files == nullptr || !files->is_array()) return invalid("key 'source_files' must be a list");
  for (const json& file : *files) {
    GRAFT_TRY(FileStamp stamp, stamp_from_json(file));
    model.source_files.push_back(std::move(stamp));
  }
  return model;
}

}  // namespace

std::string model_record_json(const StoredModel& model) {
  ordered_json files = ordered_json::array();
  for (const FileStamp& stamp : model.source_files) files.push_back(stamp_json(stamp));
  const ordered_json record = {{"format", kFormat},
                               {"name", model.name},
                               {"source", model.source.string()},
                               {"digest", model.digest},
                               {"created", model.created},
                               {"spec", formats::spec_to_json(model.spec)},
                               {"special_tokens", model.special_tokens},
                               {"clean_up_spaces", model.clean_up_spaces},
                               {"source_files", files}};
  return record.dump(2) + "\n";
}

Result<StoredModel> read_model_record(const std::filesystem::path& directory) {
  const auto path = directory / "model.json";
  GRAFT_TRY(const std::string text, read_file(path));
  auto value = parse_json(text);
  if (!value.ok()) return at(path.string(), value.error());
  auto model = from_json(*value);
  if (!model.ok()) return at(path.string(), model.error());
  if (model->name != directory.filename()) return invalid(path.string() + ": key 'name' is not the directory's name");
  model->directory = directory;
  return model;
}

Result<std::vector<FileStamp>> stamp_files(const std::vector<std::filesystem::path>& files) {
  std::vector<FileStamp> stamps;
  for (const auto& path : files) {
    struct stat info{};
    if (stat(path.c_str(), &info) != 0) return system_error("cannot read", path, errno);
    std::error_code error;
    const auto absolute = std::filesystem::weakly_canonical(path, error);
    if (error) return system_error("cannot read", path, error.value());
    stamps.push_back({absolute.string(), info.st_size, nanoseconds(info.st_mtim), nanoseconds(info.st_ctim),
                      static_cast<int64_t>(info.st_ino)});
  }
  return stamps;
}

}  // namespace graft::storage
