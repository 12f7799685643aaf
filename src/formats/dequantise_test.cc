#include "formats/dequantise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/blocks.h"

namespace graft::formats {
namespace {

// Random blocks with finite scales, as they lie in a file, and what the gguf package makes of them.
struct Blocks {
  std::string bytes;
  std::vector<float> values;
};

std::map<std::string, Blocks> oracle(const std::vector<DType>& dtypes, int64_t rows) {
  TestDirectory dir;
  std::vector<std::string> arguments = {dir.path(), std::to_string(rows)};
  for (const DType dtype : dtypes) arguments.emplace_back(dtype_name(dtype));
  EXPECT_EQ(run_python(R"(
import sys, numpy as np, gguf
from gguf import quants
np.seterr(all="ignore")
random = np.random.default_rng(3)
for name in sys.argv[3:]:
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, size=(4 * int(sys.argv[2]), size * max(1, 32 // elements)), dtype=np.uint8)
    values = quants.dequantize(blocks, kind).astype(np.float32)
    good = np.isfinite(values).all(axis=1)
    blocks[good][:int(sys.argv[2])].tofile(sys.argv[1] + "/" + name)
    values[good][:int(sys.argv[2])].tofile(sys.argv[1] + "/" + name + ".f32")
)",
                       arguments),
            "");
  std::map<std::string, Blocks> blocks;
  for (const DType dtype : dtypes) {
    const std::string name(dtype_name(dtype));
    Blocks& entry = blocks[name];
    entry.bytes = read_file(dir / name).value();
    const std::string values = read_file(dir / (name + ".f32")).value();
    entry.values.resize(values.size() / sizeof(float));
    std::memcpy(entry.values.data(), values.data(), values.size());
  }
  return blocks;
}

TEST(Dequantise, EqualsTheGgufPackageBitForBit) {
  const std::vector<DType> dtypes = {DType::kF16,  DType::kBF16, DType::kQ4_0,  DType::kQ4_1, DType::kQ5_0,
                                     DType::kQ5_1, DType::kQ8_0, DType::kIQ4NL, DType::kQ2K,  DType::kQ3K,
                                     DType::kQ4K,  DType::kQ5K,  DType::kQ6K,   DType::kIQ4XS};
  const int64_t rows = 200;
  for (const auto& [name, blocks] : oracle(dtypes, rows)) {
    const DType dtype = *std::find_if(dtypes.begin(), dtypes.end(), [&](DType d) { return dtype_name(d) == name; });
    const auto elements = static_cast<int64_t>(blocks.values.size());
    ASSERT_GE(elements, rows * 32) << name;
    const TensorView view{"t", dtype, {rows, elements / rows}, std::as_bytes(std::span(blocks.bytes))};
    std::vector<float> values(blocks.values.size());
    ASSERT_TRUE(to_float32(view, values).ok()) << name;
    EXPECT_EQ(std::memcmp(values.data(), blocks.values.data(), values.size() * sizeof(float)), 0) << name;
  }
}

TEST(Dequantise, EightBitFloatsAndHalvesEqualTorchs) {
  TestDirectory dir;
  ASSERT_EQ(run_python(R"(
import sys, torch, numpy as np
every = torch.arange(256, dtype=torch.uint8)
every.view(torch.float8_e4m3fn).float().numpy().tofile(sys.argv[1] + "/F8_E4M3")
every.view(torch.float8_e5m2).float().numpy().tofile(sys.argv[1] + "/F8_E5M2")
bits = torch.from_numpy(np.random.default_rng(0).integers(-2**31, 2**31, size=200000).astype(np.int32))
bits[:65536] = (torch.arange(65536, dtype=torch.int32) << 13) + 0x33000000  # around every half, ties included
bits.numpy().tofile(sys.argv[1] + "/bits")
bits.view(torch.float32).half().view(torch.int16).numpy().tofile(sys.argv[1] + "/halves")
)",
                       {dir.path()}),
            "");
  std::vector<std::byte> every(256);
  for (size_t i = 0; i < every.size(); ++i) every[i] = static_cast<std::byte>(i);
  for (const DType dtype : {DType::kF8E4M3, DType::kF8E5M2}) {
    const std::string theirs = read_file(dir / std::string(dtype_name(dtype))).value();
    std::vector<float> values(256);
    ASSERT_TRUE(to_float32({"t", dtype, {256}, every}, values).ok());
    for (size_t i = 0; i < values.size(); ++i) {
      const auto expected = load_value<float>(reinterpret_cast<const std::byte*>(theirs.data()) + i * 4);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(values[i]));
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected)) << i;
      }
    }
  }
  const std::string bits = read_file(dir / "bits").value();
  const std::string halves = read_file(dir / "halves").value();
  for (size_t i = 0; i < halves.size() / 2; ++i) {
    const auto value = load_value<float>(reinterpret_cast<const std::byte*>(bits.data()) + i * 4);
    const auto expected = load_value<uint16_t>(reinterpret_cast<const std::byte*>(halves.data()) + i * 2);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      EXPECT_EQ(float_to_half(value), expected) << value;
    }
  }
}

TEST(Dequantise, EveryHalfEqualsItsDefinition) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = half_to_float(static_cast<uint16_t>(half));
    const int exponent = static_cast<int>((half >> 10) & 31);
    const double fraction = static_cast<double>(half & 0x3FF) / 1024;
    const double sign = (half & 0x8000) != 0 ? -1 : 1;
    if (exponent == 31) {
      EXPECT_EQ(std::isnan(value), fraction != 0);
      if (fraction == 0) {
        EXPECT_EQ(value, sign * std::numeric_limits<double>::infinity());
      }
    } else {
      const double expected = exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
      EXPECT_EQ(value, sign * expected);
      EXPECT_EQ(std::signbit(value), sign < 0);
    }
  }
}

TEST(Dequantise, Bf16RoundsToNearestEven) {
  EXPECT_EQ(float_to_bf16(1.0F), 0x3F80);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3F808000U)), 0x3F80);  // tie, down to even
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3F818000U)), 0x3F82);  // tie, up to even
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3F808001U)), 0x3F81);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(float_to_bf16(-std::numeric_limits<float>::infinity()), 0xFF80);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7F800001U)))));
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16_to_float(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      EXPECT_EQ(float_to_bf16(value), bits);
    }
  }
}

TEST(Dequantise, SizesThatDisagreeAndIntegersAreErrors) {
  const std::vector<std::byte> bytes(8);
  std::vector<float> out(2);
  EXPECT_TRUE(to_float32({"t", DType::kF32, {2}, bytes}, out).ok());
  EXPECT_FALSE(to_float32({"t", DType::kF32, {3}, bytes}, out).ok());
  EXPECT_FALSE(to_float32({"t", DType::kF32, {1}, bytes}, out).ok());
  EXPECT_EQ(to_float32({"t", DType::kI32, {2}, bytes}, out).error().kind, ErrorKind::kUnsupported);
}

TEST(Dequantise, TheFirstNonFiniteValueIsFound) {
  std::vector<float> values(10000, 1.0F);
  EXPECT_EQ(find_non_finite(values), -1);
  values[9999] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(find_non_finite(values), 9999);
  values[5000] = std::nanf("");
  EXPECT_EQ(find_non_finite(values), 5000);
}

}  // namespace
}  // namespace graft::formats
