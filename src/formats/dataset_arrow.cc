#include "base/shared_library.h"
#include "formats/dataset_readers.h"

namespace graft::formats {

Result<std::unique_ptr<DatasetReader>> open_arrow_reader(const std::filesystem::path& path,
                                                         const DatasetOptions& options) {
  auto found = find_in_library("arrow", kOpenArrowDataset);
  if (!found.ok()) return at(path.string(), found.error());
  Result<std::unique_ptr<DatasetReader>> reader = internal_error("not opened");
  reinterpret_cast<OpenArrowDataset*>(*found)(path, options, reader);
  return reader;
}

}  // namespace graft::formats
