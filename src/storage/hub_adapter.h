#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"
#include "storage/hub.h"

namespace graft::storage {

// The files of a PEFT adapter among the names of a repository or folder: adapter_config.json, and the weights as
// adapter_model.safetensors, else as adapter_model.bin; and certificate.json where there is one. `place` is what errors
// call it.
Result<std::vector<std::string>> pick_adapter_files(std::span<const std::string> names, const std::string& place);

// Fetches what is not in the cache yet of an adapter on a hub, and returns its snapshot's directory, which belongs to
// one commit: another version of it is another directory. Always asks the hub, which says whether this token may read
// it and what the revision stands for now; the cache is taken without asking only when settings.offline. Files of more
// than `max_bytes` are refused. Errors: not_found (no such repository, revision or file, or none that this token may
// read), invalid (access refused, no adapter in it), io and overloaded (the hub does not answer).
Result<std::filesystem::path> fetch_hub_adapter(const HubModel& adapter, const HubSettings& settings,
                                                int64_t max_bytes);

}  // namespace graft::storage
