#include "formats/dequantise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"

namespace graft::formats {
namespace {

// Random values, quantised and dequantised by the gguf package; the file holds the quants, then the values.
struct Quantised {
  std::string quants;
  std::vector<float> values;
};

Quantised oracle(DType dtype, int64_t elements) {
  TestDirectory dir;
  const std::string printed =
      run_python(R"(
import sys, numpy as np, gguf
from gguf import quants
kind = gguf.GGMLQuantizationType[sys.argv[1]]
x = np.random.default_rng(3).normal(size=(4, int(sys.argv[2]) // 4)).astype(np.float32)
q = quants.quantize(x, kind)
q.tofile(sys.argv[3]); quants.dequantize(q, kind).astype(np.float32).tofile(sys.argv[4])
)",
                 {std::string(dtype_name(dtype)), std::to_string(elements), dir / "q", dir / "x"});
  EXPECT_EQ(printed, "");
  Quantised result;
  result.quants = read_file(dir / "q").value();
  const std::string values = read_file(dir / "x").value();
  result.values.resize(values.size() / sizeof(float));
  std::memcpy(result.values.data(), values.data(), values.size());
  return result;
}

TEST(Dequantise, EqualsTheGgufPackageBitForBit) {
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0, DType::kF16, DType::kBF16}) {
    const Quantised expected = oracle(dtype, 512);
    TensorView view{"t", dtype, {4, 128}, std::as_bytes(std::span(expected.quants.data(), expected.quants.size()))};
    std::vector<float> values(512);
    ASSERT_TRUE(to_float32(view, values).ok());
    EXPECT_EQ(values, expected.values) << dtype_name(dtype);
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
