#include "storage/model_origin.h"

#include "base/files.h"
#include "base/strings.h"
#include "storage/hub.h"
#include "storage/object_model.h"
#include "storage/object_store.h"

namespace graft::storage {
namespace {

Result<LocalModel> from_hub(HubModel model, const std::string& file, bool schemed, const OnFetchProgress& on_progress) {
  model.file = file;
  GRAFT_TRY(const HubSettings settings, HubSettings::from_environment());
  auto path = fetch_hub_model(model, settings, on_progress);
  if (!path.ok()) {
    Error error = path.error();
    if (!schemed) error.message += " (nor is there a file or directory '" + model.repo + "' here)";
    return error;
  }
  const bool directory = fs::is_directory(*path);  // called after its commit: that is no name
  return LocalModel{std::move(*path), directory ? std::optional(model.name()) : std::nullopt};
}

}  // namespace

Result<LocalModel> bring_model(const std::string& source, const std::string& file, const fs::path& home,
                               const OnFetchProgress& on_progress) {
  if (is_object_uri(source)) {
    GRAFT_TRY(fs::path path, fetch_object_model(source, file, home / "cache", on_progress));
    return LocalModel{std::move(path), std::nullopt};
  }
  std::error_code error;
  if (fs::exists(source, error)) {
    if (file.empty()) return LocalModel{source, std::nullopt};
    if (!is_safe_path(file) || !fs::exists(fs::path(source) / file, error)) {
      return not_found(source + ": no file '" + printable(file) + "' in it");
    }
    return LocalModel{fs::path(source) / file, std::nullopt};
  }
  GRAFT_TRY(const auto model, parse_hub_model(source));
  if (model) return from_hub(*model, file, source.starts_with("hf://"), on_progress);
  if (source.find("://") != std::string::npos) return ObjectStore::open(source).error();
  return LocalModel{source, std::nullopt};  // ModelStore says what is missing
}

}  // namespace graft::storage
