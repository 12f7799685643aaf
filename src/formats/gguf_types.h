#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "formats/tensor.h"

// Numbers of the GGUF format (ggml's docs/gguf.md, ggml.h) that reader and writer share.
namespace graft::formats {

inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr uint32_t kGgufVersion = 3;
inline constexpr uint64_t kGgufAlignment = 32;  // where general.alignment says nothing else
inline constexpr size_t kGgufMostDimensions = 4;

enum class GgufType : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

// A tensor type by its number; those that cannot be read have a name only.
struct GgufTensorType {
  uint32_t number;
  std::string_view name;
  std::optional<DType> dtype;
};
const GgufTensorType* gguf_tensor_type(uint32_t number);  // null for a number that ggml never gave
std::optional<uint32_t> gguf_tensor_number(DType dtype);  // nothing for a dtype that GGUF has not

}  // namespace graft::formats
