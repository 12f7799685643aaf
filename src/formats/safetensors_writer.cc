#include "formats/safetensors_writer.h"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/strings.h"
#include "base/utf8.h"
#include "formats/checked_size.h"

namespace graft::formats {
namespace {

constexpr int64_t kAlignment = 64;
constexpr std::string_view kPaddingPrefix = "__padding__.";

int64_t padding_after(int64_t bytes) { return (kAlignment - bytes % kAlignment) % kAlignment; }

struct Layout {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::vector<std::pair<std::string, int64_t>> pieces;  // name, bytes; in file order
  int64_t end = 0;
};

void place(Layout& layout, const std::string& name, std::string_view dtype, const std::vector<int64_t>& shape,
           int64_t bytes) {
  // push_back on the object's storage instead of operator[], which would search all names each time.
  using Object = nlohmann::ordered_json::object_t;
  layout.header.get_ref<Object&>().Object::Container::emplace_back(
      name,
      nlohmann::ordered_json{{"dtype", dtype}, {"shape", shape}, {"data_offsets", {layout.end, layout.end + bytes}}});
  layout.pieces.emplace_back(name, bytes);
  layout.end += bytes;
}

Status check_name(const std::string& name, std::set<std::string>& seen) {
  const std::string shown = "tensor '" + printable(name) + "'";
  if (!is_valid_utf8(name)) return invalid(shown + ": its name is not valid UTF-8");
  if (name == "__metadata__" || name.starts_with(kPaddingPrefix)) return invalid(shown + ": the name is reserved");
  if (!seen.insert(name).second) return invalid(shown + ": declared twice");
  return {};
}

Result<Layout> lay_out(const std::vector<TensorDeclaration>& tensors, const SafetensorsWriterOptions& options) {
  Layout layout;
  std::set<std::string> seen;
  if (!options.metadata.empty()) layout.header["__metadata__"] = options.metadata;
  for (const TensorDeclaration& tensor : tensors) {
    GRAFT_CHECK_OK(check_name(tensor.name, seen));
    const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
    if (!bytes || !dtype_from_name(dtype_name(tensor.dtype))) {
      return invalid("tensor '" + printable(tensor.name) + "': its shape or dtype cannot be written");
    }
    if (options.align_tensors) {
      if (const int64_t gap = padding_after(layout.end); gap > 0) {
        place(layout, std::string(kPaddingPrefix) + std::to_string(layout.pieces.size()), "U8", {gap}, gap);
      }
    }
    place(layout, tensor.name, dtype_name(tensor.dtype), tensor.shape, *bytes);
  }
  return layout;
}

// The header's length and text, padded with spaces so that the data starts aligned.
std::string header_bytes(const nlohmann::ordered_json& header) {
  std::string text = header.dump();
  text.append(static_cast<size_t>(padding_after(static_cast<int64_t>(text.size()) + 8)), ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path, AtomicFile file, std::vector<Pending> pending)
    : path_(std::move(path)), file_(std::move(file)), pending_(std::move(pending)) {}

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                    std::vector<TensorDeclaration> tensors,
                                                    const SafetensorsWriterOptions& options) {
  auto layout = lay_out(tensors, options);
  if (!layout.ok()) return at(path.string(), layout.error());
  GRAFT_TRY(AtomicFile file, AtomicFile::create(path));
  GRAFT_CHECK_OK(file.write(header_bytes(layout->header)));
  std::vector<Pending> pending;
  for (auto& [name, bytes] : layout->pieces) pending.push_back({std::move(name), bytes});
  return SafetensorsWriter(path, std::move(file), std::move(pending));
}

Status SafetensorsWriter::write_padding() {
  const std::array<std::byte, kAlignment> zeros{};
  while (next_ < pending_.size() &&
         (pending_[next_].bytes == written_ || pending_[next_].name.starts_with(kPaddingPrefix))) {
    if (pending_[next_].name.starts_with(kPaddingPrefix)) {
      GRAFT_CHECK_OK(file_.write(std::span(zeros).first(static_cast<size_t>(pending_[next_].bytes))));
    }
    ++next_;
    written_ = 0;
  }
  return {};
}

Status SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  GRAFT_CHECK_OK(write_padding());
  if (next_ == pending_.size() || pending_[next_].name != name) {
    const std::string expected = next_ == pending_.size() ? "the end" : "'" + pending_[next_].name + "'";
    return internal_error(path_.string() + ": data for tensor '" + printable(name) + "' where " + expected +
                          " comes next");
  }
  written_ += static_cast<int64_t>(bytes.size());
  if (written_ > pending_[next_].bytes) {
    return internal_error(path_.string() + ": more data for tensor '" + printable(name) + "' than declared");
  }
  return file_.write(bytes);
}

Status SafetensorsWriter::commit() {
  GRAFT_CHECK_OK(write_padding());
  if (next_ != pending_.size()) {
    return internal_error(path_.string() + ": data of tensor '" + pending_[next_].name + "' is missing");
  }
  return file_.commit();
}

Status write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                         const SafetensorsWriterOptions& options) {
  std::vector<TensorDeclaration> declarations;
  for (const TensorView& tensor : tensors) declarations.push_back({tensor.name, tensor.dtype, tensor.shape});
  GRAFT_TRY(SafetensorsWriter writer, SafetensorsWriter::create(path, std::move(declarations), options));
  for (const TensorView& tensor : tensors) GRAFT_CHECK_OK(writer.write(tensor.name, tensor.data));
  return writer.commit();
}

}  // namespace graft::formats
