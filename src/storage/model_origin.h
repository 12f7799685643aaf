#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "storage/fetch_progress.h"

namespace graft::storage {

struct LocalModel {
  std::filesystem::path path;       // for ModelStore::add
  std::optional<std::string> name;  // what to call it, where the path does not say
};

// Brings what `graft import` is given onto this machine: a file or directory is taken as it is; "org/name[@revision]"
// comes from the hub (hub.h), "s3://..." and the like from an object store into HOME/cache (object_model.h). `file`
// names one of several .gguf files.
Result<LocalModel> bring_model(const std::string& source, const std::string& file, const std::filesystem::path& home,
                               const OnFetchProgress& on_progress = nullptr);

}  // namespace graft::storage
