#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "formats/tensor.h"

// One block of each of ggml's quantised kinds <-> floats. Elements and bytes of a block are dtype_layout's.
namespace graft::formats {

using UnpackBlock = void (*)(const std::byte* block, float* out);
using PackBlock = void (*)(const float* values, std::byte* block);

UnpackBlock unpack_function(DType dtype);  // null for a kind that has no blocks
PackBlock pack_function(DType dtype);      // null for a kind that is not written here

// Files promise no alignment, so values are copied out and in.
template <class T>
T load_value(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void store_value(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

// The eight scales and minima of Q4_K and Q5_K, six bits each in 12 bytes: the first four of each lie in the low six
// bits of bytes 0..3 and 4..7; of the others the low nibbles in bytes 8..11, the high two bits in bytes 0..7's top.
struct ScalesAndMinima {
  uint8_t scale[8];
  uint8_t minimum[8];
};
ScalesAndMinima unpack_scales(const std::byte* packed);
void pack_scales(const ScalesAndMinima& values, std::byte* packed);

void unpack_q4_0(const std::byte* block, float* out);
void unpack_q4_1(const std::byte* block, float* out);
void unpack_q5_0(const std::byte* block, float* out);
void unpack_q5_1(const std::byte* block, float* out);
void unpack_q8_0(const std::byte* block, float* out);
void unpack_iq4_nl(const std::byte* block, float* out);
void unpack_q2_k(const std::byte* block, float* out);
void unpack_q3_k(const std::byte* block, float* out);
void unpack_q4_k(const std::byte* block, float* out);
void unpack_q5_k(const std::byte* block, float* out);
void unpack_q6_k(const std::byte* block, float* out);
void unpack_iq4_xs(const std::byte* block, float* out);

void pack_q5_0(const float* values, std::byte* block);
void pack_q8_0(const float* values, std::byte* block);
void pack_q4_k(const float* values, std::byte* block);
void pack_q5_k(const float* values, std::byte* block);
void pack_q6_k(const float* values, std::byte* block);

// What the four bits of IQ4_NL and IQ4_XS stand for.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

}  // namespace graft::formats
