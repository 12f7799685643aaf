// Object stores of the clouds through Arrow's file systems.
#include "storage/object_store.h"

#include <arrow/filesystem/filesystem.h>
#include <arrow/io/interfaces.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "arrow/arrow_status.h"
#include "base/files.h"

namespace graft::arrow_library {
namespace {

using storage::ObjectInfo;
using storage::ObjectStore;

class InputStream final : public formats::ByteStream {
 public:
  explicit InputStream(std::shared_ptr<::arrow::io::InputStream> stream) : stream_(std::move(stream)) {}

  Result<size_t> read(char* data, size_t size) override try {
    GRAFT_ARROW_TRY(const int64_t got, stream_->Read(static_cast<int64_t>(size), data));
    return static_cast<size_t>(got);
  } catch (const std::exception& error) {
    return io_error(printable(error.what(), 300));
  }

 private:
  std::shared_ptr<::arrow::io::InputStream> stream_;
};

// What libarrow says names the object, but not what to do.
Error cloud_error(const std::string& uri, const ::arrow::Status& status) {
  Error error = at(uri, to_error(status));
  const auto says = [&](std::string_view word) { return error.message.find(word) != std::string::npos; };
  if (says("NOT_FOUND") || says("does not exist") || says("Path does not exist") || says("NoSuch")) {
    error.kind = ErrorKind::kNotFound;
  } else if (says("ACCESS_DENIED") || says("AccessDenied") || says("credentials") || says("InvalidAccessKeyId")) {
    error.message += "; check the credentials (for s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws)";
  }
  return error;
}

class CloudStore final : public ObjectStore {
 public:
  CloudStore(std::string uri, std::shared_ptr<::arrow::fs::FileSystem> system, std::string root)
      : uri_(std::move(uri)), system_(std::move(system)), root_(std::move(root)) {
    while (root_.ends_with('/')) root_.pop_back();
  }

  Result<std::vector<ObjectInfo>> list(const std::string& folder) const override try {
    ::arrow::fs::FileSelector selector;
    selector.base_dir = folder.empty() ? root_ : root_ + "/" + folder;
    selector.recursive = true;
    selector.allow_not_found = true;
    auto found = system_->GetFileInfo(selector);
    if (!found.ok()) return cloud_error(uri_, found.status());
    std::vector<ObjectInfo> objects;
    for (const ::arrow::fs::FileInfo& info : *found) {
      if (!info.IsFile() || !info.path().starts_with(root_ + "/")) continue;
      const auto modified = info.mtime().time_since_epoch().count();
      objects.push_back({info.path().substr(root_.size() + 1), info.size(), std::max<int64_t>(modified, 0)});
    }
    std::sort(objects.begin(), objects.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return objects;
  } catch (const std::exception& error) {
    return io_error(uri_ + ": " + printable(error.what(), 300));
  }

  Result<std::unique_ptr<formats::ByteStream>> read(const std::string& name) const override try {
    GRAFT_TRY(const std::string path, path_of(name));
    auto stream = system_->OpenInputStream(path);
    if (!stream.ok()) return cloud_error(uri_ + ": " + printable(name), stream.status());
    return std::unique_ptr<formats::ByteStream>(std::make_unique<InputStream>(*stream));
  } catch (const std::exception& error) {
    return io_error(uri_ + ": " + printable(error.what(), 300));
  }

  Status write(const std::string& name, formats::ByteStream& bytes) override try {
    GRAFT_TRY(const std::string path, path_of(name));
    auto opened = system_->OpenOutputStream(path);
    if (!opened.ok()) return cloud_error(uri_ + ": " + printable(name), opened.status());
    const auto& out = *opened;
    std::vector<char> buffer(size_t{1} << 20);
    while (true) {
      auto got = bytes.read(buffer.data(), buffer.size());
      ::arrow::Status written;
      if (got.ok() && *got > 0) written = out->Write(buffer.data(), static_cast<int64_t>(*got));
      if (got.ok() && *got == 0) {
        written = out->Close();  // the object appears
        if (written.ok()) return {};
      }
      if (!got.ok() || !written.ok()) {
        (void)out->Abort();
        if (!got.ok()) return got.error();
        return cloud_error(uri_ + ": " + printable(name), written);
      }
    }
  } catch (const std::exception& error) {
    return io_error(uri_ + ": " + printable(error.what(), 300));
  }

  Status remove(const std::string& name) override try {
    GRAFT_TRY(const std::string path, path_of(name));
    auto info = system_->GetFileInfo(path);
    if (!info.ok()) return cloud_error(uri_ + ": " + printable(name), info.status());
    if (info->type() == ::arrow::fs::FileType::NotFound) return {};
    const ::arrow::Status status = system_->DeleteFile(path);
    if (!status.ok()) return cloud_error(uri_ + ": " + printable(name), status);
    return {};
  } catch (const std::exception& error) {
    return io_error(uri_ + ": " + printable(error.what(), 300));
  }

 private:
  [[nodiscard]] Result<std::string> path_of(const std::string& name) const {
    if (!is_safe_path(name)) return invalid("'" + printable(name) + "' cannot name an object in " + uri_);
    return root_ + "/" + name;
  }

  std::string uri_;
  std::shared_ptr<::arrow::fs::FileSystem> system_;
  std::string root_;  // bucket, or bucket/prefix
};

// The S3 file system is a library of its own, because of what it links.
::arrow::Status load_s3() {
  static const ::arrow::Status loaded = ::arrow::fs::LoadFileSystemFactories(GRAFT_ARROW_S3_LIBRARY);
  return loaded;
}

// Its threads must end before the process does; and before its statics, so this is registered after they are made.
void finalize_at_exit() {
  static const bool registered = std::atexit([] { ::arrow::fs::EnsureFinalized(); }) == 0;
  (void)registered;
}

Result<std::unique_ptr<ObjectStore>> open_store(const std::string& uri) try {
  const std::string place = printable(uri.substr(0, uri.find('?')));  // a query may hold secrets
  if (uri.starts_with("s3://")) {
    if (const auto status = load_s3(); !status.ok()) return at(place, to_error(status));
  }
  std::string root;
  auto system = ::arrow::fs::FileSystemFromUri(uri, &root);
  if (!system.ok()) return at(place, to_error(system.status()));
  finalize_at_exit();
  if (root.empty()) return invalid(place + ": the bucket is missing");
  return std::unique_ptr<ObjectStore>(std::make_unique<CloudStore>(place, *system, std::move(root)));
} catch (const std::exception& error) {
  return io_error(printable(uri.substr(0, uri.find('?'))) + ": " + printable(error.what(), 300));
}

}  // namespace
}  // namespace graft::arrow_library

extern "C" __attribute__((visibility("default"))) void graft_arrow_open_store(
    const std::string& uri, graft::Result<std::unique_ptr<graft::storage::ObjectStore>>& store) {
  store = graft::arrow_library::open_store(uri);
}
