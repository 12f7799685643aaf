#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "formats/checkpoint.h"
#include "formats/tensor.h"

namespace graft::formats {

struct TorchContents {
  std::vector<TensorView> tensors;             // sorted by name; views into the file, or into `copies`
  std::vector<std::vector<std::byte>> copies;  // of tensors that do not lie in one piece
};

// What torch.save wrote (the archive of PyTorch 1.6 and later): a zip archive whose files are stored, data.pkl in it
// read as pickle.h says, every tensor checked against its storage. The older format is refused with a remedy.
Result<TorchContents> parse_torch(std::span<const std::byte> file);

// The same of a file, which is mapped.
Result<std::unique_ptr<WeightFile>> open_torch(const std::filesystem::path& path);
Result<std::unique_ptr<WeightFile>> open_torch(const std::filesystem::path& path, FileAccess access);

}  // namespace graft::formats
