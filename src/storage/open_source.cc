#include "storage/open_source.h"

#include <filesystem>
#include <vector>

#include "storage/model_record.h"
#include "storage/model_store.h"

namespace graft::storage {

Result<std::unique_ptr<formats::ModelSource>> open_model_source(const std::string& name_or_path) {
  std::error_code ignored;
  if (std::filesystem::exists(name_or_path, ignored)) return formats::ModelSource::open(name_or_path);
  GRAFT_TRY(const ModelStore store, ModelStore::open_default());
  GRAFT_TRY(const StoredModel model, store.find(name_or_path));
  GRAFT_TRY(std::unique_ptr<formats::ModelSource> source, formats::ModelSource::open(model.source));
  GRAFT_TRY(const std::vector<FileStamp> stamps, stamp_files(source->files()));
  if (stamps != model.source_files) {
    return conflict(model.source.string() + " has changed since it was imported as '" + model.name +
                    "'; give its path, or import it again");
  }
  return source;
}

}  // namespace graft::storage
