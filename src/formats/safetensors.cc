#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/json.h"
#include "base/strings.h"
#include "formats/checked_size.h"

namespace graft::formats {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kLongestHeader = 100'000'000;  // the reference implementation's limit

// Names of the tensors that SafetensorsWriter puts between others to align them.
constexpr std::string_view kPaddingPrefix = "__padding__.";

struct Placed {
  TensorView view;
  int64_t begin = 0;
  int64_t end = 0;
};

Result<int64_t> whole_number(const json& value, const std::string& what) {
  if (value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{INT64_MAX}) return value.get<int64_t>();
  return invalid(what + " must be a whole number of at least 0");
}

Result<Placed> parse_tensor(const std::string& name, const json& info) {
  const std::string place = "tensor '" + printable(name) + "'";
  if (!info.is_object()) return invalid(place + ": expected {dtype, shape, data_offsets}");
  for (const auto& [key, value] : info.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return invalid(place + ": unknown key '" + printable(key) + "'");
    }
  }
  const auto dtype = info.find("dtype");
  const auto shape = info.find("shape");
  const auto offsets = info.find("data_offsets");
  if (dtype == info.end() || !dtype->is_string()) return invalid(place + ": no dtype");
  if (shape == info.end() || !shape->is_array()) return invalid(place + ": no shape");
  if (offsets == info.end() || !offsets->is_array() || offsets->size() != 2) {
    return invalid(place + ": data_offsets must be [begin, end]");
  }
  Placed tensor;
  tensor.view.name = name;
  const auto known = dtype_from_name(dtype->get_ref<const std::string&>());
  if (!known) return unsupported(place + ": dtype '" + printable(dtype->get<std::string>()) + "' is not supported");
  tensor.view.dtype = *known;
  for (const json& size : *shape) {
    GRAFT_TRY(const int64_t number, whole_number(size, place + ": a size in its shape"));
    tensor.view.shape.push_back(number);
  }
  GRAFT_TRY(tensor.begin, whole_number((*offsets)[0], place + ": its begin"));
  GRAFT_TRY(tensor.end, whole_number((*offsets)[1], place + ": its end"));
  const auto bytes = tensor_bytes(tensor.view.dtype, tensor.view.shape);
  if (!bytes) return invalid(place + ": its shape is too large");
  if (tensor.end < tensor.begin || tensor.end - tensor.begin != *bytes) {
    return invalid(place + ": data_offsets hold " + std::to_string(tensor.end - tensor.begin) + " bytes, but " +
                   "its shape and dtype need " + std::to_string(*bytes));
  }
  return tensor;
}

Result<StringMap> parse_metadata(const json& value) {
  if (!value.is_object()) return invalid("__metadata__ must map strings to strings");
  StringMap metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return invalid("__metadata__: the value of '" + printable(key) + "' is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// Sorted by offset, the tensors must tile the data exactly.
Status check_tiling(std::vector<Placed>& tensors, uint64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end, a.view.name) < std::tie(b.begin, b.end, b.view.name);
  });
  int64_t covered = 0;
  for (const Placed& tensor : tensors) {
    const std::string place = "tensor '" + printable(tensor.view.name) + "'";
    if (tensor.begin < covered) return invalid(place + ": its data overlaps another tensor's");
    if (tensor.begin > covered) return invalid(place + ": there is a gap in the data before it");
    covered = tensor.end;
  }
  if (static_cast<uint64_t>(covered) != data_bytes) {
    return invalid("the tensors need " + std::to_string(covered) + " bytes of data, but the file holds " +
                   std::to_string(data_bytes) + "; it may be cut short or only partly downloaded");
  }
  return {};
}

}  // namespace

Result<SafetensorsContents> parse_safetensors(std::span<const std::byte> file) {
  if (file.size() < kLengthBytes) return invalid("too short to be a safetensors file");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > kLongestHeader) return invalid("not a safetensors file: its header would be larger than 100 MB");
  if (length > file.size() - kLengthBytes) return invalid("the header is cut short");
  const auto* text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
  GRAFT_TRY(const json header, parse_json(std::string_view(text, length), {.depth = 4}));
  if (!header.is_object()) return invalid("the header must be a JSON object");

  SafetensorsContents contents;
  std::vector<Placed> placed;
  for (const auto& [name, info] : header.items()) {
    if (name == "__metadata__") {
      GRAFT_TRY(contents.metadata, parse_metadata(info));
      continue;
    }
    GRAFT_TRY(Placed tensor, parse_tensor(name, info));
    placed.push_back(std::move(tensor));
  }
  const auto data = file.subspan(kLengthBytes + length);
  GRAFT_CHECK_OK(check_tiling(placed, data.size()));
  for (Placed& tensor : placed) {
    if (tensor.view.name.starts_with(kPaddingPrefix)) continue;
    tensor.view.data = data.subspan(static_cast<size_t>(tensor.begin), static_cast<size_t>(tensor.end - tensor.begin));
    contents.tensors.push_back(std::move(tensor.view));
  }
  return contents;
}

SafetensorsFile::SafetensorsFile(std::filesystem::path path, MappedFile map, SafetensorsContents contents)
    : path_(std::move(path)), map_(std::move(map)), contents_(std::move(contents)) {
  for (size_t i = 0; i < contents_.tensors.size(); ++i) index_[contents_.tensors[i].name] = i;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path, FileAccess access) {
  GRAFT_TRY(MappedFile map, MappedFile::open(path, access));
  auto contents = parse_safetensors(map.bytes());
  if (!contents.ok()) return at(path.string(), contents.error());
  return SafetensorsFile(path, std::move(map), std::move(contents).value());
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &contents_.tensors[found->second];
}

}  // namespace graft::formats
