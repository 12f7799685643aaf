#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/tensor.h"

namespace graft::formats {

// A tensor as torch.save describes it: a strided window on a storage, which is a file of its own in the archive.
struct PickledTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::string storage;           // its file is ARCHIVE/data/STORAGE
  int64_t storage_elements = 0;  // of the storage's own dtype
  DType storage_dtype = DType::kF32;
  int64_t offset = 0;  // in elements of dtype
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, one for each of shape
};

// The tensors of a state dict that torch.save pickled (data.pkl of its archive; pickle protocols 2 to 5).
//
// A pickle is a program. This one can build numbers, texts, tuples, lists, dicts and tensors, and nothing else: of the
// names that it may look up only collections.OrderedDict, torch._utils' _rebuild_tensor, _rebuild_tensor_v2,
// _rebuild_tensor_v3 and _rebuild_parameter, torch's storage classes and dtypes exist. Any other is refused by name, so
// that no file can run code. Entries of the dict that are no tensors are left out; a dict of dicts is looked into where
// it has one of the usual keys (state_dict, model_state_dict, model). Time and memory are linear in the bytes,
// of which there may be 64 MiB.
Result<std::vector<PickledTensor>> read_pickled_tensors(std::span<const std::byte> pickle);

}  // namespace graft::formats
