#include "storage/object_model.h"

#include <unistd.h>

#include <map>
#include <vector>

#include "base/digest.h"
#include "base/file_errors.h"
#include "base/file_lock.h"
#include "base/files.h"
#include "base/strings.h"
#include "storage/hub_files.h"
#include "storage/object_store.h"

namespace graft::storage {
namespace {

constexpr uint64_t kMaxIndex = uint64_t{256} << 20;

// "s3://bucket/a/x.gguf?k=v" -> {"s3://bucket/a?k=v", "x.gguf"}; a folder stays whole.
struct Place {
  std::string folder;
  std::string file;
  std::string name;  // of the folder
};
Place split_uri(const std::string& uri, const std::string& file) {
  const size_t query = std::min(uri.find('?'), uri.size());
  std::string path = uri.substr(0, query);
  while (path.ends_with('/') && !path.ends_with("://")) path.pop_back();
  Place place{path, file, {}};
  const size_t slash = path.rfind('/');
  if (path.ends_with(".gguf") && slash != std::string::npos) {
    place.file = path.substr(slash + 1);
    place.folder = path.substr(0, slash);
  }
  place.name = place.folder.substr(place.folder.rfind('/') + 1);
  place.folder += uri.substr(query);
  return place;
}

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
    const fs::path incoming = cache_ / "incoming" / std::to_string(getpid());
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

Result<fs::path> fetch_object_model(const std::string& uri, const std::string& file, const fs::path& cache,
                                    const OnFetchProgress& on_progress) {
  const Place place = split_uri(uri, file);
  const std::string shown = printable(place.folder.substr(0, place.folder.find('?')));
  GRAFT_TRY(const auto store, ObjectStore::open(place.folder));
  GRAFT_TRY(const auto listing, store->list(""));
  if (listing.empty()) return not_found(shown + ": nothing there");
  std::map<std::string, ObjectInfo> by_name;
  std::vector<std::string> names;
  for (const ObjectInfo& object : listing) {
    if (!is_safe_path(object.name)) continue;
    by_name.emplace(object.name, object);
    names.push_back(object.name);
  }
  GRAFT_TRY(ModelFiles files, pick_model_files(names, place.file, shown));
  if (!files.index.empty()) {
    GRAFT_TRY(const std::string index, store->read_all(files.index, kMaxIndex));
    GRAFT_TRY(const auto weights, files_of_index(index, shown + ": " + files.index));
    files.files.insert(files.files.end(), weights.begin(), weights.end());
  }
  std::vector<ObjectInfo> objects;
  for (const std::string& name : files.files) {
    if (!by_name.contains(name)) return not_found(shown + ": " + printable(name) + " is missing");
    objects.push_back(by_name.at(name));
  }
  const fs::path folder = cache / "uris" / key_of(place.folder, objects);
  const fs::path model = folder / place.name;
  const fs::path opened = files.gguf.empty() ? model : model / files.gguf;
  for (const char* part : {"blobs", "incoming", "uris"}) GRAFT_CHECK_OK(make_directories(cache / part));
  GRAFT_TRY(const FileLock lock, FileLock::acquire(cache / ".lock"));
  if (fs::exists(opened)) return opened;
  GRAFT_CHECK_OK(remove_stale_temporaries(cache / "incoming"));
  GRAFT_CHECK_OK(remove_stale_temporaries(cache / "uris"));
  GRAFT_TRY(AtomicDirectory made, AtomicDirectory::create(folder));
  const Status copied = Copy(*store, cache, on_progress).run(objects, made.path() / place.name);
  if (!copied.ok()) return at(shown, copied.error());
  GRAFT_CHECK_OK(made.publish());
  return opened;
}

}  // namespace graft::storage
