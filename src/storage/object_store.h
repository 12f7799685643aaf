#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "formats/byte_stream.h"

namespace graft::storage {

struct ObjectInfo {
  std::string name;         // relative to the store's URI: "checkpoints/3/adapter.safetensors"
  int64_t size = 0;         // bytes
  int64_t modified_ns = 0;  // since 1970; 0: not known
};

// Bytes under names, by URI: file:///folder (or a path), s3://bucket/prefix, gs://bucket/prefix,
// abfs://container@account.dfs.core.windows.net/prefix. Objects appear whole or not at all, and replace what was there.
// The clouds' credentials and endpoints come from where their own tools take them (AWS_ACCESS_KEY_ID,
// AWS_ENDPOINT_URL, ~/.aws, GOOGLE_APPLICATION_CREDENTIALS, ...). Names are relative paths without "..". Errors name
// the object's URI. Safe from many threads.
class ObjectStore {
 public:
  static Result<std::unique_ptr<ObjectStore>> open(const std::string& uri);
  virtual ~ObjectStore() = default;

  // Everything below `folder` ("": all), by name. A folder that is not there is empty.
  [[nodiscard]] virtual Result<std::vector<ObjectInfo>> list(const std::string& folder) const = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<formats::ByteStream>> read(const std::string& name) const = 0;
  virtual Status write(const std::string& name, formats::ByteStream& bytes) = 0;
  virtual Status remove(const std::string& name) = 0;  // nothing there is fine

  // The whole object; refused where it is larger than `limit` bytes.
  [[nodiscard]] Result<std::string> read_all(const std::string& name, uint64_t limit) const;
  Status write_all(const std::string& name, std::string bytes);
};

// True where the text begins with a scheme that ObjectStore knows: "s3://...".
bool is_object_uri(std::string_view text);

// What src/arrow exports for the schemes of the clouds, with C linkage under this name.
using OpenArrowStore = void(const std::string& uri, Result<std::unique_ptr<ObjectStore>>& store);
constexpr const char* kOpenArrowStore = "graft_arrow_open_store";

}  // namespace graft::storage
