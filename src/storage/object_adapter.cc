#include "storage/object_adapter.h"

#include <map>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "storage/hub_adapter.h"
#include "storage/object_copy.h"

namespace graft::storage {

Result<fs::path> fetch_object_adapter(const std::string& uri, const fs::path& cache, int64_t max_bytes) {
  const std::string shown = printable(uri.substr(0, uri.find('?')));
  GRAFT_TRY(const auto store, ObjectStore::open(uri));
  GRAFT_TRY(const auto listing, store->list(""));
  std::map<std::string, ObjectInfo> by_name;
  std::vector<std::string> names;
  for (const ObjectInfo& object : listing) {
    names.push_back(object.name);
    by_name.emplace(object.name, object);
  }
  GRAFT_TRY(const auto picked, pick_adapter_files(names, shown));
  std::vector<ObjectInfo> objects;
  for (const std::string& name : picked) {
    const ObjectInfo& object = by_name.at(name);
    if (object.size > max_bytes) {
      return invalid(shown + ": " + name + " has " + std::to_string(object.size) + " bytes, more than " +
                     std::to_string(max_bytes));
    }
    objects.push_back(object);
  }
  return copy_objects(*store, uri, "adapter", objects, cache);
}

}  // namespace graft::storage
