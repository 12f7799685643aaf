#pragma once

#include <cstdint>
#include <filesystem>

#include "serving/api/remote_adapters.h"
#include "storage/hub.h"

namespace graft::serving::api {

struct AdapterFetchSettings {
  storage::HubSettings hub;            // its token is for requests without one
  std::filesystem::path object_cache;  // see storage/object_copy.h
  int64_t max_file_bytes = int64_t{8} << 30;
};

// How the sources hub and s3 are asked. A request's token goes to the hub only; object stores take the server's own
// credentials.
RemoteAdapters::Fetch make_adapter_fetch(AdapterFetchSettings settings);

}  // namespace graft::serving::api
