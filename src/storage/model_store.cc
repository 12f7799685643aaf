#include "storage/model_store.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <string_view>

#include "base/file_lock.h"
#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "formats/chat_template_files.h"
#include "storage/model_record.h"

namespace graft::storage {
namespace {

using formats::ModelSource;

constexpr const char* kWeightsName = "weights.safetensors";

bool is_name(std::string_view name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !name.empty() && name.size() <= 96 && name.front() != '.' && name.front() != '-' &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

Status check_name(std::string_view name) {
  if (is_name(name)) return {};
  return invalid("'" + printable(name) +
                 "' cannot name a model: use up to 96 letters, digits, '.', '_' and '-', not starting with '.' or '-'");
}

Result<std::string> default_name(const fs::path& source) {
  std::string name = source.filename().string();
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  if (!is_name(name)) return invalid("no name for a model follows from " + source.string() + "; give one with --name");
  return name;
}

// A file that is a link stays one: in a hub's cache only the link's name tells what the file is.
Result<fs::path> resolve(const fs::path& path) {
  std::error_code error;
  const bool link = fs::is_symlink(path, error) && !fs::is_directory(path, error);
  fs::path absolute = fs::weakly_canonical(link ? fs::absolute(path, error).parent_path() : path, error);
  if (error) return not_found(path.string() + ": " + error.message());
  if (link) absolute /= path.filename();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  return absolute;
}

// True where no file of the source has changed since it was added.
bool unchanged(const StoredModel& model) {
  if (model.source_files.empty()) return false;
  std::vector<fs::path> files;
  for (const FileStamp& stamp : model.source_files) files.emplace_back(stamp.path);
  const auto stamps = stamp_files(files);
  return stamps.ok() && *stamps == model.source_files;
}

std::string now_utc() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

Status write_entry(const StoredModel& model, const ModelSource& source) {
  GRAFT_TRY(AtomicDirectory made, AtomicDirectory::create(model.directory));
  GRAFT_CHECK_OK(write_file_atomic(made.path() / "tokenizer.json", source.tokenizer_json()));
  if (!source.chat_template().empty()) {
    GRAFT_CHECK_OK(write_file_atomic(made.path() / "chat_template.jinja", source.chat_template()));
  }
  for (const auto& [template_name, text] : source.chat_templates()) {
    if (template_name == "default") continue;
    if (!is_name(template_name)) {
      return invalid(source.path().string() + ": chat template '" + printable(template_name, 60) +
                     "' needs a name of letters, digits, '.', '_' and '-'");
    }
    GRAFT_CHECK_OK(make_directories(made.path() / formats::kChatTemplateFolder));
    GRAFT_CHECK_OK(write_file_atomic(made.path() / formats::kChatTemplateFolder / (template_name + ".jinja"), text));
  }
  GRAFT_CHECK_OK(write_file_atomic(made.path() / "model.json", model_record_json(model)));
  return made.publish();
}

Error name_taken(const std::string& name) {
  return conflict("a different model is named '" + name +
                  "' already; choose another name with --name, or remove that one first");
}

// A source that has moved or changed must be taken in again: the prepared weights belong to the digest.
Result<std::unique_ptr<ModelSource>> reopen_source(const StoredModel& model) {
  auto source = ModelSource::open(model.source);
  if (!source.ok()) {
    return Error{source.error().kind,
                 "model '" + model.name + "' was imported from a source that cannot be read any more (" +
                     source.error().message + "); put it back, or remove the model and import it again"};
  }
  if (!unchanged(model)) {
    GRAFT_TRY(const std::string digest, (*source)->digest());
    if (digest != model.digest) {
      return conflict(model.source.string() + ": has changed since it was imported as '" + model.name +
                      "'; import it again under another name, or remove '" + model.name + "' first");
    }
  }
  return source;
}

}  // namespace

// ---- StoredModel ----

Result<std::string> StoredModel::tokenizer_json() const { return read_file(directory / "tokenizer.json"); }

Result<std::string> StoredModel::chat_template() const {
  const fs::path path = directory / "chat_template.jinja";
  if (!fs::exists(path)) return std::string();
  return read_file(path);
}

Result<std::map<std::string, std::string>> StoredModel::chat_templates() const {
  return formats::read_chat_templates(directory);
}

std::vector<std::string> StoredModel::prepared_variants() const {
  std::vector<std::string> variants;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory / "prepared", error)) {
    std::string variant = entry.path().filename().string();
    if (is_name(variant) && fs::exists(entry.path() / kWeightsName)) variants.push_back(std::move(variant));
  }
  std::sort(variants.begin(), variants.end());
  return variants;
}

// ---- ModelStore ----

Result<ModelStore> ModelStore::open(const fs::path& home) {
  GRAFT_CHECK_OK(make_directories(home / "models"));
  GRAFT_TRY(fs::path directory, resolve(home / "models"));
  return ModelStore(std::move(directory));
}

Result<ModelStore> ModelStore::open_default() {
  GRAFT_TRY(const fs::path home, graft_home());
  return open(home);
}

Result<AddedModel> ModelStore::add(const fs::path& source_path, const std::optional<std::string>& name) const {
  GRAFT_TRY(const fs::path path, resolve(source_path));
  if (name) GRAFT_CHECK_OK(check_name(*name));
  GRAFT_TRY(const FileLock lock, FileLock::acquire(directory_ / ".lock"));
  GRAFT_CHECK_OK(remove_stale_temporaries(directory_));
  GRAFT_TRY(const std::vector<StoredModel> models, list());
  for (const StoredModel& model : models) {
    if (model.source == path && (!name || model.name == *name) && unchanged(model)) return AddedModel{model, true};
  }
  GRAFT_TRY(const auto source, ModelSource::open(path));
  GRAFT_TRY(const auto stamps, stamp_files(source->files()));
  GRAFT_TRY(const std::string digest, source->digest());
  for (const StoredModel& model : models) {
    if (model.digest == digest && (!name || model.name == *name)) return AddedModel{model, true};
  }
  StoredModel model;
  if (name) {
    model.name = *name;
  } else {
    GRAFT_TRY(model.name, default_name(path));
  }
  model.directory = directory_ / model.name;
  if (fs::exists(model.directory)) return name_taken(model.name);
  model.spec = source->spec();
  model.special_tokens = source->special_tokens();
  model.clean_up_spaces = source->clean_up_spaces();
  model.source = path;
  model.digest = digest;
  model.created = now_utc();
  model.source_files = stamps;
  GRAFT_CHECK_OK(write_entry(model, *source));
  return AddedModel{std::move(model), false};
}

Result<StoredModel> ModelStore::find(const std::string& name_or_path) const {
  if (is_name(name_or_path) && fs::exists(directory_ / name_or_path / "model.json")) {
    return read_model_record(directory_ / name_or_path);
  }
  GRAFT_TRY(const std::vector<StoredModel> models, list());
  GRAFT_TRY(const fs::path path, resolve(name_or_path));
  std::vector<std::string> names;
  for (const StoredModel& model : models) {
    names.push_back(model.name);
    if (model.source == path && unchanged(model)) return model;
  }
  if (fs::exists(path))
    return not_found(name_or_path + ": not imported yet, or changed since; run: graft import " + name_or_path);
  const std::string hint = names.empty() ? "; import one first: graft import SOURCE" : suggestion(name_or_path, names);
  return not_found("no model '" + printable(name_or_path) + "'" + hint);
}

Result<std::vector<StoredModel>> ModelStore::list() const {
  std::vector<StoredModel> models;
  std::error_code error;
  fs::directory_iterator walk(directory_, error);
  for (const fs::directory_iterator end; !error && walk != end; walk.increment(error)) {
    if (!is_name(walk->path().filename().string()) || !walk->is_directory()) continue;
    auto model = read_model_record(walk->path());
    if (model.ok()) {
      models.push_back(std::move(model).value());
    } else {
      log_warn("{}", model.error().message);
    }
  }
  if (error) return io_error("cannot list " + directory_.string() + ": " + error.message());
  std::sort(models.begin(), models.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return models;
}

Status ModelStore::remove(const std::string& name) const {
  GRAFT_CHECK_OK(check_name(name));
  GRAFT_TRY(const FileLock lock, FileLock::acquire(directory_ / ".lock"));
  if (!fs::is_directory(directory_ / name))
    return find(name).ok() ? invalid("give the model's name, not its source") : Status(find(name).error());
  // Out of sight in one step; processes that have mapped the weights keep them.
  const fs::path doomed = directory_ / ("." + name + ".removed");
  GRAFT_CHECK_OK(remove_tree(doomed));
  std::error_code error;
  fs::rename(directory_ / name, doomed, error);
  if (error) return io_error("cannot remove " + (directory_ / name).string() + ": " + error.message());
  return remove_tree(doomed);
}

Result<fs::path> ModelStore::prepared(const StoredModel& model, const std::string& variant,
                                      const Prepare& prepare) const {
  GRAFT_CHECK_OK(check_name(variant));
  const fs::path all = model.directory / "prepared";
  const fs::path file = all / variant / kWeightsName;
  if (fs::exists(file)) return file;
  GRAFT_CHECK_OK(make_directories(all));
  GRAFT_TRY(const FileLock lock, FileLock::acquire(all / ".lock"));
  if (fs::exists(file)) return file;  // another process was faster
  GRAFT_CHECK_OK(remove_stale_temporaries(all));
  GRAFT_TRY(const auto source, reopen_source(model));
  GRAFT_TRY(AtomicDirectory made, AtomicDirectory::create(all / variant));
  GRAFT_CHECK_OK(prepare(*source, made.path() / kWeightsName));
  GRAFT_CHECK_OK(made.publish());
  return file;
}

}  // namespace graft::storage
