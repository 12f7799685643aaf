#include "storage/object_copy.h"

#include <unistd.h>

#include <atomic>

#include "base/digest.h"
#include "base/file_errors.h"
#include "base/file_lock.h"
#include "base/files.h"
#include "base/strings.h"

namespace graft::storage {
namespace {

class Copy {
 public:
  Copy(const ObjectStore& store, fs::path cache, const OnFetchProgress& on_progress)
      : store_(store), cache_(std::move(cache)), on_progress_(on_progress) {}

  // Copies the objects into `folder` as links into the blobs.
  Status run(const std::vector<ObjectInfo>& objects, const fs::path& folder) {
    for (const ObjectInfo& object : objects) progress_.total += object.size;
    for (const ObjectInfo& object : objects) {
      progress_.file = object.name;
      GRAFT_TRY(const std::string digest, add_blob(object));
      const fs::path link = folder / object.name;
      GRAFT_CHECK_OK(make_directories(link.parent_path()));
      // From CACHE/uris/KEY/NAME/...: the folder is filled under another name first, but at the same depth.
      fs::path up;
      for (const auto& part : fs::path(object.name).parent_path()) up /= part.empty() ? "" : "..";
      std::error_code error;
      fs::create_symlink(up / "../../../blobs" / digest, link, error);
      if (error) return system_error("cannot link", link, error.value());
    }
    return {};
  }

 private:
  Result<std::string> add_blob(const ObjectInfo& object) {
    GRAFT_TRY(const auto stream, store_.read(object.name));
    static std::atomic<uint64_t> count{0};
    const fs::path incoming = cache_ / "incoming" / (std::to_string(getpid()) + "-" + std::to_string(++count));
    GRAFT_TRY(AtomicFile file, AtomicFile::create(incoming));
    Sha256 digest;
    int64_t size = 0;
    std::vector<char> buffer(size_t{1} << 20);
    while (true) {
      auto got = stream->read(buffer.data(), buffer.size());
      if (!got.ok()) return at(printable(object.name), got.error());
      if (*got == 0) break;
      const std::string_view piece(buffer.data(), *got);
      digest.update(piece);
      GRAFT_CHECK_OK(file.write(piece));
      size += static_cast<int64_t>(*got);
      progress_.done += static_cast<int64_t>(*got);
      if (on_progress_) on_progress_(progress_);
    }
    if (size != object.size)
      return io_error(printable(object.name) + ": ended after " + std::to_string(size) +
                      " bytes; it changed meanwhile, try again");
    GRAFT_CHECK_OK(file.commit());
    std::string name = digest.hex();
    std::error_code error;
    fs::rename(incoming, cache_ / "blobs" / name, error);
    if (error) return system_error("cannot rename", incoming, error.value());
    return name;
  }

  const ObjectStore& store_;
  fs::path cache_;
  const OnFetchProgress& on_progress_;
  FetchProgress progress_;
};

std::string key_of(const std::string& uri, const std::vector<ObjectInfo>& objects) {
  std::string text = uri + "\n";
  for (const ObjectInfo& object : objects) {
    text += object.name + "\n" + std::to_string(object.size) + " " + std::to_string(object.modified_ns) + "\n";
  }
  return sha256_hex(text).substr(0, 32);
}

}  // namespace

Result<fs::path> copy_objects(const ObjectStore& store, const std::string& uri, const std::string& name,
                              const std::vector<ObjectInfo>& objects, const fs::path& cache,
                              const OnFetchProgress& on_progress) {
  const std::string key = key_of(uri, objects);
  const fs::path folder = cache / "uris" / key;
  for (const char* part : {"blobs", "incoming", "locks", "uris"}) GRAFT_CHECK_OK(make_directories(cache / part));
  GRAFT_TRY(const FileLock lock, FileLock::acquire(cache / "locks" / key));
  if (fs::exists(folder)) return folder / name;
  GRAFT_CHECK_OK(remove_stale_temporaries(cache / "incoming"));
  GRAFT_CHECK_OK(remove_stale_temporaries(cache / "uris"));
  GRAFT_TRY(AtomicDirectory made, AtomicDirectory::create(folder));
  const Status copied = Copy(store, cache, on_progress).run(objects, made.path() / name);
  if (!copied.ok()) return at(printable(uri.substr(0, uri.find('?'))), copied.error());
  GRAFT_CHECK_OK(made.publish());
  return folder / name;
}

}  // namespace graft::storage
