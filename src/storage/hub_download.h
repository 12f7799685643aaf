#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "storage/hub_client.h"

namespace graft::storage {

// Fetches a file of a commit to `blob`, by way of BLOB.incomplete, which always holds a beginning of the file and is
// what a later call, or huggingface_hub, goes on from. Large files come in chunks over several connections. The size,
// and the SHA-256 where the hub tells it, are checked. The caller holds the blob's lock.
// `on_bytes` is told what was added; one thread at a time; negative where bytes had to be thrown away.
Status fetch_blob(const HubClient& client, const HubSettings& settings, const std::string& commit, const HubFile& file,
                  const std::filesystem::path& blob, const std::function<void(int64_t)>& on_bytes);

}  // namespace graft::storage
