#pragma once

#include <filesystem>

#include "storage/model_store.h"

// model.json <-> StoredModel.
namespace graft::storage {

std::string model_record_json(const StoredModel& model);
Result<StoredModel> read_model_record(const std::filesystem::path& directory);

Result<std::vector<FileStamp>> stamp_files(const std::vector<std::filesystem::path>& files);

}  // namespace graft::storage
