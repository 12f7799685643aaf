#include "formats/gguf_writer.h"

#include <array>
#include <cstring>

#include "base/strings.h"
#include "base/utf8.h"
#include "formats/checked_size.h"
#include "formats/gguf_types.h"

namespace graft::formats {
namespace {

template <class T>
void append(std::string& bytes, T value) {
  std::array<char, sizeof(T)> raw{};
  std::memcpy(raw.data(), &value, sizeof(T));
  bytes.append(raw.data(), raw.size());
}

void append_text(std::string& bytes, std::string_view text) {
  append<uint64_t>(bytes, text.size());
  bytes += text;
}

uint64_t padding_after(uint64_t bytes) { return (kGgufAlignment - bytes % kGgufAlignment) % kGgufAlignment; }

constexpr uint32_t number_of(GgufType type) { return static_cast<uint32_t>(type); }

Status check_tensor(const TensorDeclaration& tensor, std::set<std::string_view>& seen) {
  const std::string place = "tensor '" + printable(tensor.name) + "'";
  if (!is_valid_utf8(tensor.name) || tensor.name.empty()) return invalid(place + ": not a name");
  if (!seen.insert(tensor.name).second) return invalid(place + ": declared twice");
  if (tensor.shape.size() > kGgufMostDimensions) return invalid(place + ": GGUF has at most 4 dimensions");
  if (!tensor_bytes(tensor.dtype, tensor.shape) || !gguf_tensor_number(tensor.dtype)) {
    return invalid(place + ": its shape or dtype cannot be written");
  }
  for (const int64_t size : tensor.shape) {
    if (size == 0) return invalid(place + ": GGUF has no empty tensors");
  }
  return {};
}

}  // namespace

void GgufFields::start(std::string_view key, uint32_t type) {
  keys_.emplace(key);
  append_text(bytes_, key);
  append(bytes_, type);
}

void GgufFields::start_array(std::string_view key, uint32_t type, uint64_t count) {
  start(key, number_of(GgufType::kArray));
  append(bytes_, type);
  append(bytes_, count);
}

void GgufFields::add_u32(std::string_view key, uint32_t value) {
  start(key, number_of(GgufType::kU32));
  append(bytes_, value);
}

void GgufFields::add_f32(std::string_view key, float value) {
  start(key, number_of(GgufType::kF32));
  append(bytes_, value);
}

void GgufFields::add_bool(std::string_view key, bool value) {
  start(key, number_of(GgufType::kBool));
  append<uint8_t>(bytes_, value ? 1 : 0);
}

void GgufFields::add_text(std::string_view key, std::string_view value) {
  start(key, number_of(GgufType::kString));
  append_text(bytes_, value);
}

void GgufFields::add_texts(std::string_view key, const std::vector<std::string>& values) {
  start_array(key, number_of(GgufType::kString), values.size());
  for (const std::string& value : values) append_text(bytes_, value);
}

void GgufFields::add_i32s(std::string_view key, const std::vector<int32_t>& values) {
  start_array(key, number_of(GgufType::kI32), values.size());
  for (const int32_t value : values) append(bytes_, value);
}

void GgufFields::add_f32s(std::string_view key, const std::vector<float>& values) {
  start_array(key, number_of(GgufType::kF32), values.size());
  for (const float value : values) append(bytes_, value);
}

GgufWriter::GgufWriter(std::filesystem::path path, AtomicFile file, std::vector<Pending> pending)
    : path_(std::move(path)), file_(std::move(file)), pending_(std::move(pending)) {}

Result<GgufWriter> GgufWriter::create(const std::filesystem::path& path, const GgufFields& fields,
                                      std::vector<TensorDeclaration> tensors) {
  std::string header;
  append(header, kGgufMagic);
  append(header, kGgufVersion);
  append<uint64_t>(header, tensors.size());
  append<uint64_t>(header, fields.count());
  header += fields.bytes();
  std::vector<Pending> pending;
  std::set<std::string_view> seen;
  uint64_t offset = 0;
  for (const TensorDeclaration& tensor : tensors) {
    if (const Status status = check_tensor(tensor, seen); !status.ok()) return at(path.string(), status.error());
    append_text(header, tensor.name);
    append<uint32_t>(header, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) append<uint64_t>(header, static_cast<uint64_t>(tensor.shape[i]));
    append(header, *gguf_tensor_number(tensor.dtype));
    append(header, offset);
    const auto bytes = static_cast<uint64_t>(*tensor_bytes(tensor.dtype, tensor.shape));
    pending.push_back({tensor.name, bytes});
    offset += bytes + padding_after(bytes);
  }
  header.append(padding_after(header.size()), '\0');
  GRAFT_TRY(AtomicFile file, AtomicFile::create(path));
  GRAFT_CHECK_OK(file.write(header));
  return GgufWriter(path, std::move(file), std::move(pending));
}

// Every tensor, the last one too, is followed by padding.
Status GgufWriter::finish_tensor() {
  const std::array<std::byte, kGgufAlignment> zeros{};
  GRAFT_CHECK_OK(file_.write(std::span(zeros).first(padding_after(written_))));
  ++next_;
  written_ = 0;
  return {};
}

Status GgufWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  if (next_ == pending_.size() || pending_[next_].name != name || bytes.size() > pending_[next_].bytes - written_) {
    return internal_error(path_.string() + ": data for tensor '" + printable(name) + "' that was not declared so");
  }
  GRAFT_CHECK_OK(file_.write(bytes));
  written_ += bytes.size();
  return written_ == pending_[next_].bytes ? finish_tensor() : Status();
}

Status GgufWriter::commit() {
  if (next_ != pending_.size()) {
    return internal_error(path_.string() + ": data of tensor '" + pending_[next_].name + "' is missing");
  }
  return file_.commit();
}

}  // namespace graft::formats
