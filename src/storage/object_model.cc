#include "storage/object_model.h"

#include <map>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "storage/hub_files.h"
#include "storage/object_copy.h"

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
  GRAFT_TRY(const fs::path model, copy_objects(*store, place.folder, place.name, objects, cache, on_progress));
  return files.gguf.empty() ? model : model / files.gguf;
}

}  // namespace graft::storage
