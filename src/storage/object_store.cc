#include "storage/object_store.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "base/file_errors.h"
#include "base/files.h"
#include "base/shared_library.h"
#include "base/strings.h"

namespace graft::storage {
namespace {

constexpr std::array<std::string_view, 6> kCloudSchemes = {"s3://", "gs://", "gcs://", "abfs://", "abfss://", "az://"};

bool is_cloud(std::string_view uri) {
  return std::any_of(kCloudSchemes.begin(), kCloudSchemes.end(), [&](auto scheme) { return uri.starts_with(scheme); });
}

class FileStore final : public ObjectStore {
 public:
  explicit FileStore(fs::path root) : root_(std::move(root)) {}

  Result<std::vector<ObjectInfo>> list(const std::string& folder) const override {
    std::vector<ObjectInfo> objects;
    fs::path top = root_;
    if (!folder.empty()) {
      GRAFT_TRY(top, path_of(folder));
    }
    std::error_code error;
    if (!fs::exists(top, error)) return objects;
    fs::recursive_directory_iterator walk(top, error);
    for (const fs::recursive_directory_iterator end; !error && walk != end; walk.increment(error)) {
      std::error_code gone;
      const std::string name = walk->path().filename().string();
      if (!fs::is_regular_file(walk->path(), gone) || name.starts_with('.')) continue;  // unfinished files are hidden
      const auto modified = std::chrono::file_clock::to_sys(fs::last_write_time(walk->path(), gone));
      objects.push_back({walk->path().lexically_relative(root_).generic_string(),
                         static_cast<int64_t>(fs::file_size(walk->path(), gone)),
                         std::chrono::duration_cast<std::chrono::nanoseconds>(modified.time_since_epoch()).count()});
    }
    if (error) return system_error("cannot list", top, error.value());
    std::sort(objects.begin(), objects.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return objects;
  }

  Result<std::unique_ptr<formats::ByteStream>> read(const std::string& name) const override {
    GRAFT_TRY(const fs::path path, path_of(name));
    return formats::open_file_stream(path);
  }

  Status write(const std::string& name, formats::ByteStream& bytes) override {
    GRAFT_TRY(const fs::path path, path_of(name));
    GRAFT_CHECK_OK(make_directories(path.parent_path()));
    GRAFT_TRY(AtomicFile file, AtomicFile::create(path));
    std::vector<char> buffer(size_t{1} << 20);
    while (true) {
      GRAFT_TRY(const size_t got, bytes.read(buffer.data(), buffer.size()));
      if (got == 0) return file.commit();
      GRAFT_CHECK_OK(file.write(std::string_view(buffer.data(), got)));
    }
  }

  Status remove(const std::string& name) override {
    GRAFT_TRY(const fs::path path, path_of(name));
    std::error_code error;
    fs::remove(path, error);
    if (error) return system_error("cannot remove", path, error.value());
    return {};
  }

 private:
  [[nodiscard]] Result<fs::path> path_of(const std::string& name) const {
    if (!is_safe_path(name)) return invalid("'" + printable(name) + "' cannot name an object in " + root_.string());
    return root_ / name;
  }

  fs::path root_;
};

}  // namespace

bool is_object_uri(std::string_view text) { return text.starts_with("file://") || is_cloud(text); }

Result<std::unique_ptr<ObjectStore>> ObjectStore::open(const std::string& uri) {
  if (is_cloud(uri)) {
    auto found = find_in_library("arrow", kOpenArrowStore);
    if (!found.ok()) return at(printable(uri), found.error());
    Result<std::unique_ptr<ObjectStore>> store = internal_error("not opened");
    reinterpret_cast<OpenArrowStore*>(*found)(uri, store);
    return store;
  }
  constexpr std::string_view kFile = "file://";
  const bool file = uri.starts_with(kFile);
  const std::string path = file ? uri.substr(kFile.size()) : uri;
  if (path.empty() || (file && path.front() != '/') || (!file && path.find("://") != std::string::npos)) {
    return unsupported("'" + printable(uri) + "': known are file:///PATH, s3://, gs:// and abfs://");
  }
  return std::unique_ptr<ObjectStore>(std::make_unique<FileStore>(path));
}

Result<std::string> ObjectStore::read_all(const std::string& name, uint64_t limit) const {
  GRAFT_TRY(const auto stream, read(name));
  std::string bytes;
  std::vector<char> buffer(size_t{1} << 18);
  while (true) {
    GRAFT_TRY(const size_t got, stream->read(buffer.data(), buffer.size()));
    if (got == 0) return bytes;
    bytes.append(buffer.data(), got);
    if (bytes.size() > limit) return invalid(printable(name) + ": larger than " + std::to_string(limit) + " bytes");
  }
}

Status ObjectStore::write_all(const std::string& name, std::string bytes) {
  const auto stream = formats::make_memory_stream(std::move(bytes));
  return write(name, *stream);
}

}  // namespace graft::storage
