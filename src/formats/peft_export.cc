#include <algorithm>
#include <array>

#include "base/files.h"
#include "base/strings.h"
#include "formats/model_export.h"
#include "formats/model_exports.h"
#include "formats/model_sources.h"
#include "formats/peft_adapter.h"
#include "formats/quantise.h"
#include "formats/safetensors_writer.h"

namespace graft::formats {
namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";

Status copy_whole(const fs::path& from, const fs::path& to) {
  constexpr uint64_t kLimit = uint64_t{16} << 30;
  GRAFT_TRY(const std::string bytes, read_file(from, kLimit));
  return write_file_atomic(to, bytes);
}

Status write_as(const std::vector<TensorView>& tensors, DType dtype, const fs::path& path) {
  std::vector<TensorDeclaration> declarations;
  for (const TensorView& tensor : tensors) declarations.push_back({tensor.name, dtype, tensor.shape});
  SafetensorsWriterOptions options;
  options.metadata["format"] = "pt";
  GRAFT_TRY(SafetensorsWriter writer, SafetensorsWriter::create(path, std::move(declarations), options));
  std::vector<std::byte> bytes;
  for (const TensorView& tensor : tensors) {
    GRAFT_TRY(const std::vector<float> values, read_weight(tensor));
    bytes.resize(values.size() * static_cast<size_t>(dtype_layout(dtype).block_bytes));
    if (const Status status = quantise(values, dtype, bytes); !status.ok()) {
      return at("tensor '" + printable(tensor.name) + "'", status.error());
    }
    GRAFT_CHECK_OK(writer.write(tensor.name, bytes));
  }
  return writer.commit();
}

ExportSummary summary_of(const std::vector<TensorView>& tensors, std::optional<DType> type, const fs::path& file) {
  ExportSummary summary{{file}, {}, 0};
  for (const TensorView& tensor : tensors) {
    const DType dtype = type.value_or(tensor.dtype);
    const DTypeLayout layout = dtype_layout(dtype);
    summary.weight_bytes += tensor.elements() / layout.block_elements * layout.block_bytes;
    ++summary.tensors_as[std::string(dtype_name(dtype))];
  }
  return summary;
}

}  // namespace

Result<ExportSummary> export_peft(const fs::path& adapter, const ModelSpec& base, const fs::path& directory,
                                  std::optional<ExportType> type) {
  std::optional<DType> dtype;
  if (type) {
    GRAFT_TRY(dtype, safetensors_dtype(*type));
  }
  GRAFT_CHECK_OK(check_vacant(directory));
  GRAFT_TRY(const PeftAdapter opened, PeftAdapter::open(adapter, base, {.dora = true}));
  const std::vector<TensorView> tensors = opened.tensors();
  const bool keep_bytes = !dtype && fs::exists(adapter / kWeights);
  GRAFT_TRY(AtomicDirectory out, AtomicDirectory::create(directory));
  if (keep_bytes) {
    GRAFT_CHECK_OK(copy_whole(adapter / kWeights, out.path() / kWeights));
  } else if (dtype) {
    GRAFT_CHECK_OK(write_as(tensors, *dtype, out.path() / kWeights));
  } else {
    GRAFT_CHECK_OK(write_safetensors(out.path() / kWeights, tensors, {.metadata = {{"format", "pt"}}}));
  }
  std::vector<std::string_view> names = {kConfig, "README.md", "config.yaml"};
  if (keep_bytes) names.emplace_back("certificate.json");
  for (const std::string_view name : names) {
    if (fs::exists(adapter / name)) GRAFT_CHECK_OK(copy_whole(adapter / name, out.path() / name));
  }
  GRAFT_CHECK_OK(out.publish());
  return summary_of(tensors, dtype, directory / kWeights);
}

}  // namespace graft::formats
