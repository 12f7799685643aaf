#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "storage/fetch_progress.h"

// Models from a hub that speaks Hugging Face's protocol (huggingface.co, or a mirror of it), kept in the cache that
// Python's huggingface_hub uses, in its layout and under its locks: what either has fetched, the other finds.
//
//   CACHE/models--ORG--NAME/refs/REVISION        the commit that a branch or tag stood for
//   CACHE/models--ORG--NAME/snapshots/COMMIT/FILE   -> ../../blobs/ETAG
//   CACHE/models--ORG--NAME/blobs/ETAG           the bytes; ETAG.incomplete: their beginning
//   CACHE/.locks/models--ORG--NAME/ETAG.lock
namespace graft::storage {

struct HubSettings {
  std::string endpoint = "https://huggingface.co";  // without a '/' at the end
  std::string token;                                // empty: none
  std::filesystem::path cache;
  bool offline = false;

  int connections = 4;                                   // for one file
  int64_t chunk_bytes = int64_t{16} << 20;               // what one request asks of a file, and one holds in memory
  int attempts = 5;                                      // without a single new byte
  std::chrono::milliseconds retry_delay{1000};           // doubles with each attempt
  std::chrono::milliseconds longest_retry_delay{60000};  // the hub's Retry-After is obeyed up to this
  std::chrono::seconds stall_timeout{30};

  // From HF_ENDPOINT, HF_TOKEN (or HUGGING_FACE_HUB_TOKEN, or the file HF_TOKEN_PATH, by default HF_HOME/token, unless
  // HF_HUB_DISABLE_IMPLICIT_TOKEN), HF_HUB_CACHE (by default HF_HOME/hub), HF_HOME (by default
  // $XDG_CACHE_HOME/huggingface, that is ~/.cache/huggingface), HF_HUB_OFFLINE.
  static Result<HubSettings> from_environment();
};

struct HubModel {
  std::string repo;               // "org/name"
  std::string revision = "main";  // branch, tag or commit
  std::string file;               // one .gguf file of it; empty: what the repository holds decides

  [[nodiscard]] std::string name() const { return repo.substr(repo.find('/') + 1); }
};

// "org/name", "org/name@revision", also with "hf://" in front. Nothing where it is neither; an error where it has that
// form but breaks the hub's rules for names.
Result<std::optional<HubModel>> parse_hub_model(std::string_view text);

// Fetches what graft reads of a model (see hub_files.h) and is not in the cache yet, and returns the snapshot's
// directory, or the .gguf file in it. An interrupted fetch goes on where it stopped. Offline, or where the hub cannot
// be reached, what is in the cache is taken, if it is whole. Errors carry the hub's own message and the remedy.
Result<std::filesystem::path> fetch_hub_model(const HubModel& model, const HubSettings& settings,
                                              const OnFetchProgress& on_progress = nullptr);

}  // namespace graft::storage
