#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace graft::storage {

// Copies a PEFT adapter from the folder `uri` of an object store into the cache (see object_copy.h), and returns its
// directory. Always lists the folder first: objects that have changed make another directory. Objects of more than
// `max_bytes` are refused. Errors: as ObjectStore, and as pick_adapter_files.
Result<std::filesystem::path> fetch_object_adapter(const std::string& uri, const std::filesystem::path& cache,
                                                   int64_t max_bytes);

}  // namespace graft::storage
