#include "formats/quantise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "formats/blocks.h"
#include "formats/dequantise.h"
#include "formats/pieces.h"

namespace graft::formats {
namespace {

constexpr size_t kPieceElements = size_t{1} << 14;  // about a millisecond

template <class Convert>
Status convert_each(std::span<const float> values, DType dtype, std::span<std::byte> out, Convert convert,
                    uint16_t infinity) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t stored = convert(values[i]);
    if ((stored & 0x7FFFU) == infinity && std::isfinite(values[i])) {
      return invalid(
          fmt::format("element {} is {}, beyond the range of {}; use another type", i, values[i], dtype_name(dtype)));
    }
    store_value(out.data() + i * sizeof stored, stored);
  }
  return {};
}

}  // namespace

bool can_quantise(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || pack_function(dtype) != nullptr;
}

Status quantise(std::span<const float> values, DType dtype, std::span<std::byte> out) {
  const DTypeLayout layout = dtype_layout(dtype);
  const auto elements = static_cast<size_t>(layout.block_elements);
  const auto bytes = static_cast<size_t>(layout.block_bytes);
  if (values.size() % elements != 0 || out.size() != values.size() / elements * bytes || !can_quantise(dtype)) {
    return internal_error(
        fmt::format("{} values cannot be written as {} bytes of {}", values.size(), out.size(), dtype_name(dtype)));
  }
  if (dtype == DType::kF32) {
    if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
    return {};
  }
  if (dtype == DType::kF16) return convert_each(values, dtype, out, float_to_half, 0x7C00);
  if (dtype == DType::kBF16) return convert_each(values, dtype, out, float_to_bf16, 0x7F80);
  const PackBlock pack = pack_function(dtype);
  const size_t blocks = values.size() / elements;
  const size_t blocks_a_piece = kPieceElements / elements;
  for_each_piece((blocks + blocks_a_piece - 1) / blocks_a_piece, [&](size_t piece) {
    const size_t end = std::min(blocks, (piece + 1) * blocks_a_piece);
    for (size_t i = piece * blocks_a_piece; i < end; ++i) pack(values.data() + i * elements, out.data() + i * bytes);
  });
  return {};
}

}  // namespace graft::formats
