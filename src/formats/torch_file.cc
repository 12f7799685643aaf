#include "formats/torch_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "base/mapped_file.h"
#include "base/strings.h"
#include "formats/checked_size.h"
#include "formats/pickle.h"
#include "formats/zip.h"

namespace graft::formats {
namespace {

constexpr std::string_view kPickleName = "/data.pkl";

// torch.save before 1.6 wrote several pickles one after the other; the first is this magic number.
bool is_legacy(std::span<const std::byte> file) {
  constexpr std::array<unsigned char, 14> kMagic = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                                    0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
  return file.size() >= kMagic.size() && std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
}

Result<std::span<const std::byte>> stored_bytes(const ZipEntry& entry) {
  if (entry.stored()) return entry.data;
  return unsupported("'" + printable(entry.name) + "' is compressed, which torch.save never does; save it again");
}

// "archive" of "archive/data.pkl".
Result<std::string> archive_name(const ZipArchive& archive) {
  std::optional<std::string> name;
  for (const ZipEntry& entry : archive.entries()) {
    if (!entry.name.ends_with(kPickleName)) continue;
    if (name) return invalid("the archive holds more than one data.pkl");
    name = entry.name.substr(0, entry.name.size() - kPickleName.size());
  }
  if (!name) return invalid("a zip archive, but none of torch.save: it holds no data.pkl");
  return *name;
}

Status check_byte_order(const ZipArchive& archive, const std::string& name) {
  const ZipEntry* entry = archive.find(name + "/byteorder");
  if (entry == nullptr) return {};  // older versions wrote none
  GRAFT_TRY(const auto bytes, stored_bytes(*entry));
  const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (order == "little") return {};
  return unsupported("byte order '" + printable(order) + "' is not supported, only little");
}

// Element by element in row-major order: for transposed and other windows. One copy per dimension, innermost a loop.
void gather(const PickledTensor& tensor, std::span<const std::byte> storage, size_t width, std::byte* out) {
  std::vector<int64_t> index(tensor.shape.size(), 0);
  int64_t at = tensor.offset;
  const size_t rank = index.size();
  while (true) {
    std::memcpy(out, storage.data() + static_cast<size_t>(at) * width, width);
    out += width;
    size_t dimension = rank;
    while (dimension > 0) {
      --dimension;
      at += tensor.strides[dimension];
      if (++index[dimension] < tensor.shape[dimension]) break;
      at -= tensor.strides[dimension] * tensor.shape[dimension];
      index[dimension] = 0;
      if (dimension == 0) return;
    }
  }
}

bool is_contiguous(const PickledTensor& tensor) {
  int64_t expected = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];  // no overflow: tensor_bytes has multiplied them all
  }
  return true;
}

// One past the last element that the window reaches, in elements.
std::optional<int64_t> end_of_window(const PickledTensor& tensor) {
  int64_t end = tensor.offset;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    int64_t step = 0;
    if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) ||
        __builtin_add_overflow(end, step, &end))
      return std::nullopt;
  }
  return __builtin_add_overflow(end, 1, &end) ? std::nullopt : std::optional(end);
}

class Loader {
 public:
  Loader(const ZipArchive& archive, std::string name, size_t file_bytes)
      : archive_(archive), name_(std::move(name)), copy_budget_(file_bytes) {}

  Status add(const PickledTensor& tensor) {
    auto view = view_of(tensor);
    if (!view.ok()) return at("tensor '" + printable(tensor.name) + "'", view.error());
    contents_.tensors.push_back(std::move(view).value());
    return {};
  }

  TorchContents finish() {
    std::sort(contents_.tensors.begin(), contents_.tensors.end(),
              [](const TensorView& a, const TensorView& b) { return a.name < b.name; });
    return std::move(contents_);
  }

 private:
  Result<std::span<const std::byte>> storage_of(const PickledTensor& tensor) {
    const ZipEntry* entry = archive_.find(name_ + "/data/" + tensor.storage);
    if (entry == nullptr) return invalid("its storage '" + printable(tensor.storage) + "' is not in the archive");
    GRAFT_TRY(const auto bytes, stored_bytes(*entry));
    const int64_t size[] = {tensor.storage_elements};
    const auto expected = tensor_bytes(tensor.storage_dtype, size);
    if (!expected || static_cast<uint64_t>(*expected) != bytes.size()) {
      return invalid("its storage holds " + std::to_string(bytes.size()) + " bytes, not the " +
                     std::to_string(tensor.storage_elements) + " elements it is said to have");
    }
    return bytes;
  }

  Result<TensorView> view_of(const PickledTensor& tensor) {
    GRAFT_TRY(const auto storage, storage_of(tensor));
    const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
    if (!bytes) return invalid("its shape is too large");
    TensorView view{tensor.name, tensor.dtype, tensor.shape, {}};
    if (*bytes == 0) return view;
    const auto width = static_cast<size_t>(dtype_layout(tensor.dtype).block_bytes);
    const auto end = end_of_window(tensor);
    if (!end || static_cast<uint64_t>(*end) > storage.size() / width) return invalid("it reaches beyond its storage");
    if (is_contiguous(tensor)) {
      view.data = storage.subspan(static_cast<size_t>(tensor.offset) * width, static_cast<size_t>(*bytes));
      return view;
    }
    // A stride of 0 would let a few bytes stand for any number of elements.
    const auto size = static_cast<uint64_t>(*bytes);
    if (size > storage.size() || size > copy_budget_) {
      return unsupported("it is a window that repeats elements; save it with .contiguous()");
    }
    copy_budget_ -= size;
    std::vector<std::byte>& copy = contents_.copies.emplace_back(size);
    gather(tensor, storage, width, copy.data());
    view.data = copy;  // stays where it is when `copies` grows: a vector moves with its bytes
    return view;
  }

  const ZipArchive& archive_;
  std::string name_;
  uint64_t copy_budget_;
  TorchContents contents_;
};

class TorchFile final : public WeightFile {
 public:
  TorchFile(std::filesystem::path path, MappedFile map, TorchContents contents)
      : path_(std::move(path)), map_(std::move(map)), contents_(std::move(contents)) {
    for (size_t i = 0; i < contents_.tensors.size(); ++i) index_[contents_.tensors[i].name] = i;
  }

  const std::vector<TensorView>& tensors() const override { return contents_.tensors; }
  const TensorView* find(std::string_view name) const override {
    const auto found = index_.find(std::string(name));
    return found == index_.end() ? nullptr : &contents_.tensors[found->second];
  }
  const std::filesystem::path& path() const override { return path_; }
  std::span<const std::byte> bytes() const override { return map_.bytes(); }

 private:
  std::filesystem::path path_;
  MappedFile map_;
  TorchContents contents_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace

Result<TorchContents> parse_torch(std::span<const std::byte> file) {
  if (is_legacy(file)) {
    return unsupported(
        "a checkpoint in the format of PyTorch before 1.6; load it with torch.load(FILE, weights_only=True) and save "
        "it again with torch.save, or with safetensors");
  }
  GRAFT_TRY(const ZipArchive archive, ZipArchive::parse(file));
  GRAFT_TRY(const std::string name, archive_name(archive));
  GRAFT_CHECK_OK(check_byte_order(archive, name));
  GRAFT_TRY(const auto pickle, stored_bytes(*archive.find(name + std::string(kPickleName))));
  GRAFT_TRY(const std::vector<PickledTensor> tensors, read_pickled_tensors(pickle));
  Loader loader(archive, name, file.size());
  for (const PickledTensor& tensor : tensors) GRAFT_CHECK_OK(loader.add(tensor));
  return loader.finish();
}

Result<std::unique_ptr<WeightFile>> open_torch(const std::filesystem::path& path) {
  return open_torch(path, FileAccess::kMap);
}

Result<std::unique_ptr<WeightFile>> open_torch(const std::filesystem::path& path, FileAccess access) {
  GRAFT_TRY(MappedFile map, MappedFile::open(path, access));
  auto contents = parse_torch(map.bytes());
  if (!contents.ok()) return at(path.string(), contents.error());
  return std::unique_ptr<WeightFile>(std::make_unique<TorchFile>(path, std::move(map), std::move(contents).value()));
}

}  // namespace graft::formats
