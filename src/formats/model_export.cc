#include "formats/model_export.h"

#include <array>

#include "base/strings.h"
#include "formats/dequantise.h"
#include "formats/model_exports.h"

namespace graft::formats {
namespace {

struct TypeName {
  ExportType type;
  std::string_view name;
};
constexpr std::array kTypeNames = {TypeName{ExportType::kF32, "f32"}, TypeName{ExportType::kF16, "f16"},
                                   TypeName{ExportType::kBF16, "bf16"}, TypeName{ExportType::kQ8_0, "q8_0"},
                                   TypeName{ExportType::kQ4K, "q4_k"}};

}  // namespace

std::string_view export_type_name(ExportType type) {
  for (const TypeName& entry : kTypeNames) {
    if (entry.type == type) return entry.name;
  }
  return "";
}

std::optional<ExportType> export_type_from_name(std::string_view name) {
  for (const TypeName& entry : kTypeNames) {
    if (entry.name == name) return entry.type;
  }
  return std::nullopt;
}

Status check_vacant(const std::filesystem::path& directory) {
  std::error_code error;
  const bool there = std::filesystem::exists(std::filesystem::symlink_status(directory, error));
  if (!there || std::filesystem::is_empty(directory, error)) return {};
  return conflict(directory.string() + ": exists already; remove it or choose another place");
}

Result<std::vector<float>> read_for_export(const ModelSource& source, const ExportOptions& options,
                                           const WeightShape& weight) {
  if (!options.read) return source.read(weight.name);
  GRAFT_TRY(std::vector<float> values, options.read(weight.name));
  const std::string place = "tensor '" + printable(weight.name) + "'";
  int64_t elements = 1;
  for (const int64_t size : weight.shape) elements *= size;
  if (static_cast<int64_t>(values.size()) != elements) {
    return internal_error(place + ": " + std::to_string(values.size()) + " values where " + std::to_string(elements) +
                          " are expected");
  }
  if (const int64_t bad = find_non_finite(values); bad >= 0) {
    return invalid(place + ": element " + std::to_string(bad) + " is NaN or infinite; it is not written");
  }
  return values;
}

}  // namespace graft::formats
