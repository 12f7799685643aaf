#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "storage/fetch_progress.h"

namespace graft::storage {

// Copies a model from an object store into the cache, and returns its directory, or the .gguf file in it. `uri` names a
// folder ("s3://bucket/models/tiny") or a .gguf file; `file` one of several .gguf files in a folder.
//
//   CACHE/blobs/SHA256                 the bytes, once, wherever they came from
//   CACHE/uris/KEY/NAME/FILE           -> ../../../blobs/SHA256; KEY: of the URI and its files' sizes and times
//
// What has not changed in the store is not fetched again. Interrupted copies leave nothing but finished files.
Result<std::filesystem::path> fetch_object_model(const std::string& uri, const std::string& file,
                                                 const std::filesystem::path& cache,
                                                 const OnFetchProgress& on_progress = nullptr);

}  // namespace graft::storage
