#include "formats/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/strings.h"
#include "base/utf8.h"
#include "formats/checked_size.h"
#include "formats/gguf_types.h"

namespace graft::formats {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF and safetensors are read as they lie in memory");

constexpr int kDeepestArray = 4;
constexpr uint64_t kLongestKey = 65535;

using ValueType = GgufType;

// The bytes not read yet. Reading past the end is an error value, never an access.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] size_t position() const { return position_; }
  [[nodiscard]] uint64_t left() const { return bytes_.size() - position_; }

  template <class T>
  Result<T> take() {
    if (left() < sizeof(T)) return cut_short();
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  Result<std::string_view> take_string(const std::string& what, uint64_t limit = UINT64_MAX) {
    GRAFT_TRY(const uint64_t length, take<uint64_t>());
    if (length > left()) return invalid(what + " is longer than the rest of the file; the file may be cut short");
    if (length > limit) return invalid(what + " is longer than " + std::to_string(limit) + " bytes");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    if (!is_valid_utf8(text)) return invalid(what + " is not valid UTF-8");
    return text;
  }

  static Error cut_short() { return invalid("the file ends inside its header; it may be cut short"); }

 private:
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

// ---- metadata ----

size_t smallest_size(ValueType type) {
  constexpr std::array<size_t, 13> kSizes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  return kSizes[static_cast<size_t>(type)];
}

Result<ValueType> take_type(Cursor& cursor, const std::string& place) {
  GRAFT_TRY(const uint32_t number, cursor.take<uint32_t>());
  if (number > static_cast<uint32_t>(ValueType::kF64)) {
    return invalid(place + ": value type " + std::to_string(number) + " does not exist");
  }
  return static_cast<ValueType>(number);
}

Result<bool> take_bool(Cursor& cursor, const std::string& place) {
  GRAFT_TRY(const uint8_t byte, cursor.take<uint8_t>());
  if (byte > 1) return invalid(place + ": a truth value must be 0 or 1");
  return byte == 1;
}

template <class Stored, class Wide, class Out>
Status take_numbers(Cursor& cursor, uint64_t count, Out& out) {
  std::vector<Wide> values;
  values.reserve(count);  // bounded by the bytes that are left: checked by the caller
  for (uint64_t i = 0; i < count; ++i) {
    GRAFT_TRY(const Stored stored, cursor.take<Stored>());
    values.push_back(static_cast<Wide>(stored));
  }
  out = std::move(values);
  return {};
}

Result<GgufValue> take_value(Cursor& cursor, ValueType type, const std::string& place, int depth);

Status take_other_elements(Cursor& cursor, ValueType type, uint64_t count, const std::string& place, int depth,
                           GgufValue::Array& out) {
  if (type == ValueType::kBool) {
    std::vector<bool> values;
    for (uint64_t i = 0; i < count; ++i) {
      GRAFT_TRY(const bool value, take_bool(cursor, place));
      values.push_back(value);
    }
    out = std::move(values);
    return {};
  }
  if (type == ValueType::kString) {
    std::vector<std::string_view> values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      GRAFT_TRY(const std::string_view value, cursor.take_string(place + ": element " + std::to_string(i)));
      values.push_back(value);
    }
    out = std::move(values);
    return {};
  }
  std::vector<GgufValue> values;
  for (uint64_t i = 0; i < count; ++i) {
    GRAFT_TRY(GgufValue value, take_value(cursor, type, place, depth + 1));
    values.push_back(std::move(value));
  }
  out = std::move(values);
  return {};
}

Result<GgufValue> take_array(Cursor& cursor, const std::string& place, int depth) {
  if (depth >= kDeepestArray) return invalid(place + ": arrays are nested too deeply");
  GRAFT_TRY(const ValueType type, take_type(cursor, place));
  GRAFT_TRY(const uint64_t count, cursor.take<uint64_t>());
  if (count > cursor.left() / smallest_size(type)) {
    return invalid(place + ": an array of " + std::to_string(count) + " elements is longer than the rest of the file");
  }
  GgufValue::Array array;
  Status status;
  switch (type) {
    case ValueType::kU8:
      status = take_numbers<uint8_t, uint64_t>(cursor, count, array);
      break;
    case ValueType::kU16:
      status = take_numbers<uint16_t, uint64_t>(cursor, count, array);
      break;
    case ValueType::kU32:
      status = take_numbers<uint32_t, uint64_t>(cursor, count, array);
      break;
    case ValueType::kU64:
      status = take_numbers<uint64_t, uint64_t>(cursor, count, array);
      break;
    case ValueType::kI8:
      status = take_numbers<int8_t, int64_t>(cursor, count, array);
      break;
    case ValueType::kI16:
      status = take_numbers<int16_t, int64_t>(cursor, count, array);
      break;
    case ValueType::kI32:
      status = take_numbers<int32_t, int64_t>(cursor, count, array);
      break;
    case ValueType::kI64:
      status = take_numbers<int64_t, int64_t>(cursor, count, array);
      break;
    case ValueType::kF32:
      status = take_numbers<float, double>(cursor, count, array);
      break;
    case ValueType::kF64:
      status = take_numbers<double, double>(cursor, count, array);
      break;
    default:
      status = take_other_elements(cursor, type, count, place, depth, array);
  }
  GRAFT_CHECK_OK(status);
  return GgufValue{std::move(array)};
}

template <class Stored, class Wide>
Result<GgufValue> take_number(Cursor& cursor) {
  GRAFT_TRY(const Stored stored, cursor.take<Stored>());
  return GgufValue{static_cast<Wide>(stored)};
}

Result<GgufValue> take_value(Cursor& cursor, ValueType type, const std::string& place, int depth) {
  switch (type) {
    case ValueType::kU8:
      return take_number<uint8_t, uint64_t>(cursor);
    case ValueType::kU16:
      return take_number<uint16_t, uint64_t>(cursor);
    case ValueType::kU32:
      return take_number<uint32_t, uint64_t>(cursor);
    case ValueType::kU64:
      return take_number<uint64_t, uint64_t>(cursor);
    case ValueType::kI8:
      return take_number<int8_t, int64_t>(cursor);
    case ValueType::kI16:
      return take_number<int16_t, int64_t>(cursor);
    case ValueType::kI32:
      return take_number<int32_t, int64_t>(cursor);
    case ValueType::kI64:
      return take_number<int64_t, int64_t>(cursor);
    case ValueType::kF32:
      return take_number<float, double>(cursor);
    case ValueType::kF64:
      return take_number<double, double>(cursor);
    case ValueType::kBool: {
      GRAFT_TRY(const bool value, take_bool(cursor, place));
      return GgufValue{value};
    }
    case ValueType::kString: {
      GRAFT_TRY(const std::string_view value, cursor.take_string(place));
      return GgufValue{value};
    }
    case ValueType::kArray:
      return take_array(cursor, place, depth);
  }
  return internal_error("unreachable GGUF value type");
}

Result<GgufMetadata> take_metadata(Cursor& cursor, uint64_t count) {
  constexpr uint64_t kSmallestEntry = 8 + 4 + 1;
  if (count > cursor.left() / kSmallestEntry) {
    return invalid(std::to_string(count) + " metadata entries are more than the file can hold");
  }
  GgufMetadata metadata;
  for (uint64_t i = 0; i < count; ++i) {
    GRAFT_TRY(const std::string_view key, cursor.take_string("metadata key " + std::to_string(i), kLongestKey));
    const std::string place = "metadata key '" + printable(key) + "'";
    if (metadata.has(key)) return invalid(place + " is there twice");
    GRAFT_TRY(const ValueType type, take_type(cursor, place));
    GRAFT_TRY(GgufValue value, take_value(cursor, type, place, 0));
    metadata.insert(std::string(key), std::move(value));
  }
  return metadata;
}

// ---- tensors ----

struct TensorInfo {
  TensorView view;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

Result<DType> dtype_of(uint32_t number, const std::string& place) {
  const GgufTensorType* type = gguf_tensor_type(number);
  if (type == nullptr) return invalid(place + ": type number " + std::to_string(number) + " is not known");
  if (type->dtype) return *type->dtype;
  return unsupported(place + ": type " + std::string(type->name) +
                     " is not supported; use a file with F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K or similar weights");
}

Result<TensorInfo> take_tensor_info(Cursor& cursor, uint64_t number) {
  TensorInfo info;
  GRAFT_TRY(const std::string_view name,
            cursor.take_string("the name of tensor " + std::to_string(number), kLongestKey));
  info.view.name = name;
  const std::string place = "tensor '" + printable(name) + "'";
  GRAFT_TRY(const uint32_t dimensions, cursor.take<uint32_t>());
  if (dimensions > kGgufMostDimensions)
    return invalid(place + ": " + std::to_string(dimensions) + " dimensions; at most 4 exist");
  for (uint32_t i = 0; i < dimensions; ++i) {
    GRAFT_TRY(const uint64_t size, cursor.take<uint64_t>());
    if (size == 0 || size > uint64_t{INT64_MAX})
      return invalid(place + ": dimension " + std::to_string(i) + " is out of range");
    info.view.shape.insert(info.view.shape.begin(), static_cast<int64_t>(size));
  }
  GRAFT_TRY(const uint32_t type, cursor.take<uint32_t>());
  GRAFT_TRY(info.view.dtype, dtype_of(type, place));
  GRAFT_TRY(info.offset, cursor.take<uint64_t>());
  const auto bytes = tensor_bytes(info.view.dtype, info.view.shape);
  if (!bytes) {
    return invalid(place + ": its shape is too large, or its rows are not whole blocks of " +
                   std::string(dtype_name(info.view.dtype)));
  }
  info.bytes = static_cast<uint64_t>(*bytes);
  return info;
}

Result<std::vector<TensorInfo>> take_tensor_infos(Cursor& cursor, uint64_t count) {
  constexpr uint64_t kSmallestInfo = 8 + 4 + 4 + 8;
  if (count > cursor.left() / kSmallestInfo)
    return invalid(std::to_string(count) + " tensors are more than the file can hold");
  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < count; ++i) {
    GRAFT_TRY(TensorInfo info, take_tensor_info(cursor, i));
    infos.push_back(std::move(info));
  }
  return infos;
}

Result<uint64_t> alignment_of(const GgufMetadata& metadata) {
  GRAFT_TRY(const int64_t alignment, metadata.integer_or("general.alignment", kGgufAlignment));
  if (alignment < 8 || alignment > (1 << 20) || !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    return invalid("metadata key 'general.alignment' must be a power of two from 8 to 1048576");
  }
  return static_cast<uint64_t>(alignment);
}

Status check_no_overlap(const std::vector<TensorInfo>& infos) {
  std::vector<const TensorInfo*> sorted;
  for (const TensorInfo& info : infos) sorted.push_back(&info);
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1]->offset + sorted[i - 1]->bytes > sorted[i]->offset) {
      return invalid("tensors '" + printable(sorted[i - 1]->view.name) + "' and '" + printable(sorted[i]->view.name) +
                     "' overlap");
    }
  }
  return {};
}

Status check_names(const std::vector<TensorInfo>& infos) {
  std::vector<std::string_view> names;
  for (const TensorInfo& info : infos) names.push_back(info.view.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return invalid("tensor '" + printable(*twice) + "' is there twice");
  return {};
}

Status place_tensors(std::vector<TensorInfo>& infos, std::span<const std::byte> data, uint64_t alignment) {
  for (TensorInfo& info : infos) {
    const std::string place = "tensor '" + printable(info.view.name) + "'";
    if (info.offset % alignment != 0) return invalid(place + ": its offset is not a multiple of the alignment");
    if (info.offset > data.size() || info.bytes > data.size() - info.offset) {
      return invalid(place + ": its data ends after the file; the file may be cut short or only partly downloaded");
    }
    info.view.data = data.subspan(info.offset, info.bytes);
  }
  GRAFT_CHECK_OK(check_names(infos));
  return check_no_overlap(infos);
}

Status check_start(Cursor& cursor) {
  GRAFT_TRY(const uint32_t magic, cursor.take<uint32_t>());
  if (magic != kGgufMagic) return invalid("not a GGUF file");
  GRAFT_TRY(const uint32_t version, cursor.take<uint32_t>());
  if (version == kGgufVersion) return {};
  if (version == __builtin_bswap32(kGgufVersion)) {
    return unsupported("a big-endian GGUF file; convert it to little-endian with gguf's gguf_convert_endian script");
  }
  return unsupported("GGUF version " + std::to_string(version) +
                     " is not supported, only version 3; convert the model again");
}

}  // namespace

Result<GgufContents> parse_gguf(std::span<const std::byte> file) {
  Cursor cursor(file);
  GRAFT_CHECK_OK(check_start(cursor));
  GRAFT_TRY(const uint64_t tensor_count, cursor.take<uint64_t>());
  GRAFT_TRY(const uint64_t metadata_count, cursor.take<uint64_t>());
  GgufContents contents;
  GRAFT_TRY(contents.metadata, take_metadata(cursor, metadata_count));
  GRAFT_TRY(std::vector<TensorInfo> infos, take_tensor_infos(cursor, tensor_count));
  GRAFT_TRY(const uint64_t alignment, alignment_of(contents.metadata));
  const uint64_t data_begin = (cursor.position() + alignment - 1) / alignment * alignment;
  const auto data = data_begin < file.size() ? file.subspan(data_begin) : std::span<const std::byte>();
  GRAFT_CHECK_OK(place_tensors(infos, data, alignment));
  for (TensorInfo& info : infos) contents.tensors.push_back(std::move(info.view));
  return contents;
}

}  // namespace graft::formats
