#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/fetch_progress.h"
#include "storage/object_store.h"

namespace graft::storage {

// Copies objects of the store at `uri` into CACHE/uris/KEY/NAME, as links into blobs named by their SHA-256. KEY stands
// for the URI and the objects' names, sizes and times, so that changed objects are another directory. What is there
// already is taken as it is. One at a time among all processes; the others wait.
Result<std::filesystem::path> copy_objects(const ObjectStore& store, const std::string& uri, const std::string& name,
                                           const std::vector<ObjectInfo>& objects, const std::filesystem::path& cache,
                                           const OnFetchProgress& on_progress = nullptr);

}  // namespace graft::storage
