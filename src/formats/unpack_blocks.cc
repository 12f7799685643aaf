#include "formats/blocks.h"
#include "formats/dequantise.h"

// Products and sums are rounded one by one, in ggml's order: q * d - 8 d and (q - 8) * d differ in the last bit.
namespace graft::formats {
namespace {

constexpr int kBlock = 32;
constexpr int kSuperBlock = 256;

float load_half(const std::byte* at) { return half_to_float(load_value<uint16_t>(at)); }
int byte_at(const std::byte* at, int index) { return std::to_integer<int>(at[index]); }

// Low nibbles are the first 16 elements, high ones the other 16.
int nibble(const std::byte* quants, int i) {
  return i < kBlock / 2 ? byte_at(quants, i) & 15 : byte_at(quants, i - kBlock / 2) >> 4;
}

int fifth_bit(uint32_t high, int i) { return static_cast<int>((high >> i) & 1U) << 4; }

// Two bits of element i of a super-block: bytes 0..31 hold elements 0..127, four to a byte and 32 apart.
int two_bits(const std::byte* quants, int i) {
  return (byte_at(quants, i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2)) & 3;
}

// Four bits of element i of a super-block: bytes 0..31 hold elements 0..63, two to a byte and 32 apart.
int four_bits(const std::byte* quants, int i) {
  return (byte_at(quants, i / 64 * 32 + i % 32) >> (i % 64 / 32 * 4)) & 15;
}

// The sixteen scales of Q3_K, six bits each: low nibbles in bytes 0..7, high two bits in bytes 8..11.
int q3_scale(const std::byte* scales, int j) {
  const int low = j < 8 ? byte_at(scales, j) & 15 : byte_at(scales, j - 8) >> 4;
  const int high = (byte_at(scales, 8 + j % 4) >> (j / 4 * 2)) & 3;
  return (low | high << 4) - 32;
}

}  // namespace

void unpack_q4_0(const std::byte* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(nibble(block + 2, i) - 8);
}

void unpack_q4_1(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  for (int i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(nibble(block + 4, i)) + minimum;
}

void unpack_q5_0(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const auto high = load_value<uint32_t>(block + 2);
  for (int i = 0; i < kBlock; ++i) {
    out[i] = scale * static_cast<float>((nibble(block + 6, i) | fifth_bit(high, i)) - 16);
  }
}

void unpack_q5_1(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const auto high = load_value<uint32_t>(block + 4);
  for (int i = 0; i < kBlock; ++i) {
    out[i] = scale * static_cast<float>(nibble(block + 8, i) | fifth_bit(high, i)) + minimum;
  }
}

void unpack_q8_0(const std::byte* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(load_value<int8_t>(block + 2 + i));
}

void unpack_iq4_nl(const std::byte* block, float* out) {
  const float scale = load_half(block);
  for (int i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(kIq4Values[nibble(block + 2, i)]);
}

void unpack_q2_k(const std::byte* block, float* out) {
  const float scale = load_half(block + 80);
  const float minimum = load_half(block + 82);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int both = byte_at(block, i / 16);
    out[i] = scale * static_cast<float>(both & 15) * static_cast<float>(two_bits(block + 16, i)) -
             minimum * static_cast<float>(both >> 4);
  }
}

void unpack_q3_k(const std::byte* block, float* out) {
  const float scale = load_half(block + 108);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int high = (byte_at(block, i % 32) >> (i / 32)) & 1;
    const int quant = two_bits(block + 32, i) - (high != 0 ? 0 : 4);
    out[i] = scale * static_cast<float>(q3_scale(block + 96, i / 16)) * static_cast<float>(quant);
  }
}

ScalesAndMinima unpack_scales(const std::byte* packed) {
  ScalesAndMinima values{};
  for (int j = 0; j < 4; ++j) {
    const int low = byte_at(packed, j);
    const int middle = byte_at(packed, j + 4);
    const int high = byte_at(packed, j + 8);
    values.scale[j] = static_cast<uint8_t>(low & 63);
    values.minimum[j] = static_cast<uint8_t>(middle & 63);
    values.scale[j + 4] = static_cast<uint8_t>((high & 15) | (low >> 6 << 4));
    values.minimum[j + 4] = static_cast<uint8_t>((high >> 4) | (middle >> 6 << 4));
  }
  return values;
}

void unpack_q4_k(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const ScalesAndMinima parts = unpack_scales(block + 4);
  for (int i = 0; i < kSuperBlock; ++i) {
    out[i] = scale * static_cast<float>(parts.scale[i / 32]) * static_cast<float>(four_bits(block + 16, i)) -
             minimum * static_cast<float>(parts.minimum[i / 32]);
  }
}

void unpack_q5_k(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const float minimum = load_half(block + 2);
  const ScalesAndMinima parts = unpack_scales(block + 4);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int high = (byte_at(block + 16, i % 32) >> (i / 32)) & 1;
    const int quant = four_bits(block + 48, i) | high << 4;
    out[i] = scale * static_cast<float>(parts.scale[i / 32]) * static_cast<float>(quant) -
             minimum * static_cast<float>(parts.minimum[i / 32]);
  }
}

void unpack_q6_k(const std::byte* block, float* out) {
  const float scale = load_half(block + 208);
  for (int i = 0; i < kSuperBlock; ++i) {
    const int low = (byte_at(block, i / 128 * 64 + i % 64) >> (i % 128 / 64 * 4)) & 15;
    const int quant = (low | two_bits(block + 128, i) << 4) - 32;
    out[i] = scale * static_cast<float>(load_value<int8_t>(block + 192 + i / 16)) * static_cast<float>(quant);
  }
}

void unpack_iq4_xs(const std::byte* block, float* out) {
  const float scale = load_half(block);
  const int high = load_value<uint16_t>(block + 2);
  for (int j = 0; j < kSuperBlock / kBlock; ++j) {
    const int low = (byte_at(block + 4, j / 2) >> (j % 2 * 4)) & 15;
    const float part = scale * static_cast<float>((low | ((high >> (2 * j)) & 3) << 4) - 32);
    for (int i = 0; i < kBlock; ++i) {
      out[j * kBlock + i] = part * static_cast<float>(kIq4Values[nibble(block + 8 + j * 16, i)]);
    }
  }
}

UnpackBlock unpack_function(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return unpack_q4_0;
    case DType::kQ4_1:
      return unpack_q4_1;
    case DType::kQ5_0:
      return unpack_q5_0;
    case DType::kQ5_1:
      return unpack_q5_1;
    case DType::kQ8_0:
      return unpack_q8_0;
    case DType::kIQ4NL:
      return unpack_iq4_nl;
    case DType::kQ2K:
      return unpack_q2_k;
    case DType::kQ3K:
      return unpack_q3_k;
    case DType::kQ4K:
      return unpack_q4_k;
    case DType::kQ5K:
      return unpack_q5_k;
    case DType::kQ6K:
      return unpack_q6_k;
    case DType::kIQ4XS:
      return unpack_iq4_xs;
    default:
      return nullptr;
  }
}

}  // namespace graft::formats
