#include "formats/quantise.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "formats/blocks.h"
#include "formats/dequantise.h"

namespace graft::formats {
namespace {

// Pieces of about a millisecond, which the threads take one after the other.
constexpr size_t kPieceElements = size_t{1} << 14;

template <class Work>
void for_each_piece(size_t pieces, const Work& work) {
  std::atomic<size_t> next{0};
  const auto run = [&] {
    for (size_t piece = next++; piece < pieces; piece = next++) work(piece);
  };
  const size_t threads = std::min<size_t>(std::max(1U, std::thread::hardware_concurrency()), pieces);
  std::vector<std::thread> helpers;
  try {
    for (size_t i = 1; i < threads; ++i) helpers.emplace_back(run);
  } catch (const std::system_error&) {
    // No more threads to be had: those there are do it.
  }
  run();
  for (std::thread& helper : helpers) helper.join();
}

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
