#include "formats/tensor.h"

#include <array>

namespace graft::formats {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  DTypeLayout layout;
  bool in_safetensors;
};

// Elements and bytes of a block: dequantise.h says what is in it.
constexpr std::array kDTypes = {
    DTypeRow{DType::kF64, "F64", {1, 8}, true},           DTypeRow{DType::kF32, "F32", {1, 4}, true},
    DTypeRow{DType::kF16, "F16", {1, 2}, true},           DTypeRow{DType::kBF16, "BF16", {1, 2}, true},
    DTypeRow{DType::kF8E4M3, "F8_E4M3", {1, 1}, true},    DTypeRow{DType::kF8E5M2, "F8_E5M2", {1, 1}, true},
    DTypeRow{DType::kI64, "I64", {1, 8}, true},           DTypeRow{DType::kI32, "I32", {1, 4}, true},
    DTypeRow{DType::kI16, "I16", {1, 2}, true},           DTypeRow{DType::kI8, "I8", {1, 1}, true},
    DTypeRow{DType::kU64, "U64", {1, 8}, true},           DTypeRow{DType::kU32, "U32", {1, 4}, true},
    DTypeRow{DType::kU16, "U16", {1, 2}, true},           DTypeRow{DType::kU8, "U8", {1, 1}, true},
    DTypeRow{DType::kBool, "BOOL", {1, 1}, true},         DTypeRow{DType::kQ4_0, "Q4_0", {32, 18}, false},
    DTypeRow{DType::kQ4_1, "Q4_1", {32, 20}, false},      DTypeRow{DType::kQ5_0, "Q5_0", {32, 22}, false},
    DTypeRow{DType::kQ5_1, "Q5_1", {32, 24}, false},      DTypeRow{DType::kQ8_0, "Q8_0", {32, 34}, false},
    DTypeRow{DType::kIQ4NL, "IQ4_NL", {32, 18}, false},   DTypeRow{DType::kQ2K, "Q2_K", {256, 84}, false},
    DTypeRow{DType::kQ3K, "Q3_K", {256, 110}, false},     DTypeRow{DType::kQ4K, "Q4_K", {256, 144}, false},
    DTypeRow{DType::kQ5K, "Q5_K", {256, 176}, false},     DTypeRow{DType::kQ6K, "Q6_K", {256, 210}, false},
    DTypeRow{DType::kIQ4XS, "IQ4_XS", {256, 136}, false},
};

constexpr const DTypeRow& row(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

constexpr bool table_is_in_order() {
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    if (static_cast<size_t>(kDTypes[i].dtype) != i) return false;
  }
  return true;
}
static_assert(table_is_in_order());

}  // namespace

std::string_view dtype_name(DType dtype) { return row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (const DTypeRow& entry : kDTypes) {
    if (entry.in_safetensors && entry.name == name) return entry.dtype;
  }
  return std::nullopt;
}

DTypeLayout dtype_layout(DType dtype) { return row(dtype).layout; }

int64_t TensorView::elements() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;  // parsers have checked that this cannot overflow
  return product;
}

}  // namespace graft::formats
