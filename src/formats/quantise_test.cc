#include "formats/quantise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/blocks.h"
#include "formats/dequantise.h"

namespace graft::formats {
namespace {

using testing::HasSubstr;

std::vector<std::byte> quantised(const std::vector<float>& values, DType dtype) {
  const DTypeLayout layout = dtype_layout(dtype);
  std::vector<std::byte> out(values.size() / static_cast<size_t>(layout.block_elements) *
                             static_cast<size_t>(layout.block_bytes));
  EXPECT_TRUE(quantise(values, dtype, out).ok());
  return out;
}

std::vector<float> round_trip(const std::vector<float>& values, DType dtype) {
  const std::vector<std::byte> bytes = quantised(values, dtype);
  std::vector<float> out(values.size());
  EXPECT_TRUE(to_float32({"t", dtype, {static_cast<int64_t>(values.size())}, bytes}, out).ok());
  return out;
}

double rmse(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

std::vector<float> normal(size_t count, float mean = 0) {
  std::mt19937 random(3);
  std::normal_distribution<float> distribution(mean, 1);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

TEST(Quantise, F16Bf16AndQ8AreTheGgufPackagesBytes) {
  TestDirectory dir;
  ASSERT_EQ(run_python(R"(
import sys, numpy as np, gguf
x = np.random.default_rng(5).normal(size=(64, 256)).astype(np.float32)
x[1] = 0; x[2] *= 1e-4; x[3, :5] = [0.5, 1.5, 127, -127, 63.5]; x[4] = np.round(x[4] * 8) / 8
x.tofile(sys.argv[1] + "/x")
for name in ("F16", "BF16", "Q8_0"): gguf.quants.quantize(x, gguf.GGMLQuantizationType[name]).tofile(sys.argv[1] + "/" + name)
)",
                       {dir.path()}),
            "");
  const std::string raw = read_file(dir / "x").value();
  std::vector<float> values(raw.size() / sizeof(float));
  std::memcpy(values.data(), raw.data(), raw.size());
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kQ8_0}) {
    const std::string expected = read_file(dir / std::string(dtype_name(dtype))).value();
    const std::vector<std::byte> ours = quantised(values, dtype);
    ASSERT_EQ(ours.size(), expected.size());
    EXPECT_EQ(std::memcmp(ours.data(), expected.data(), expected.size()), 0) << dtype_name(dtype);
  }
}

// Normal values, standard deviation 1. The bounds are a little above what the search reaches; rounding by the largest
// value alone gives 0.044 for Q5_0. `make test-peers` compares with llama-quantize.
TEST(Quantise, ErrorsAreSmall) {
  const std::vector<float> values = normal(256 * 200);
  EXPECT_LT(rmse(values, round_trip(values, DType::kQ5_0)), 0.0402);
  EXPECT_LT(rmse(values, round_trip(values, DType::kQ4K)), 0.0715);
  EXPECT_LT(rmse(values, round_trip(values, DType::kQ5K)), 0.0355);
  EXPECT_LT(rmse(values, round_trip(values, DType::kQ6K)), 0.0168);
  // One-sided values use the minimum.
  const std::vector<float> shifted = normal(256 * 200, -3);
  EXPECT_LT(rmse(shifted, round_trip(shifted, DType::kQ4K)), 0.0715);
}

TEST(Quantise, ValuesOnTheGridAreExact) {
  std::vector<float> values(256);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(static_cast<int>(i % 32) - 16) * 0.25F;
  EXPECT_EQ(round_trip(values, DType::kQ5_0), values);
  EXPECT_EQ(round_trip(values, DType::kQ6K), values);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 16) * 0.5F;
  EXPECT_LT(rmse(round_trip(values, DType::kQ4K), values), 2e-3);
}

TEST(Quantise, ExtremeBlocksStayFinite) {
  std::vector<float> values = normal(256 * 8);
  const auto fill = [&](size_t block, float value) { std::fill_n(values.begin() + block * 256, 256, value); };
  fill(0, 0);
  fill(1, 1e-30F);
  fill(2, -7);
  fill(3, std::numeric_limits<float>::denorm_min());
  fill(4, 3e4F);
  values[5 * 256] = 6e4F;
  fill(6, std::numeric_limits<float>::max());
  for (const DType dtype : {DType::kQ5_0, DType::kQ8_0, DType::kQ4K, DType::kQ5K, DType::kQ6K}) {
    const std::vector<float> out = round_trip(values, dtype);
    for (size_t i = 0; i < 6 * 256; ++i) ASSERT_TRUE(std::isfinite(out[i])) << dtype_name(dtype) << " " << i;
    for (size_t i = 0; i < 256; ++i) EXPECT_EQ(out[i], 0);
    EXPECT_NEAR(out[2 * 256 + 9], -7, 0.01) << dtype_name(dtype);
    EXPECT_NEAR(out[4 * 256 + 9], 3e4, 50) << dtype_name(dtype);
  }
}

TEST(Quantise, TheNumberOfThreadsDoesNotShow) {
  const std::vector<float> values = normal(256 * 1000);
  const std::vector<std::byte> whole = quantised(values, DType::kQ4K);
  for (size_t begin = 0; begin < values.size(); begin += 256 * 250) {
    const std::vector<float> part(values.begin() + static_cast<std::ptrdiff_t>(begin),
                                  values.begin() + static_cast<std::ptrdiff_t>(begin + 256 * 250));
    const std::vector<std::byte> bytes = quantised(part, DType::kQ4K);
    EXPECT_EQ(std::memcmp(bytes.data(), whole.data() + begin / 256 * 144, bytes.size()), 0);
  }
}

TEST(Quantise, WhatDoesNotFitIsAnError) {
  std::vector<std::byte> out(4);
  const std::vector<float> large = {1, 7e4F};
  EXPECT_THAT(quantise(large, DType::kF16, out).error().message,
              HasSubstr("element 1 is 70000, beyond the range of F16"));
  EXPECT_TRUE(quantise(large, DType::kBF16, out).ok());
  EXPECT_FALSE(quantise(large, DType::kF32, out).ok());
  EXPECT_FALSE(quantise(large, DType::kQ8_0, out).ok());
  EXPECT_FALSE(can_quantise(DType::kQ3K));
}

TEST(Blocks, ScalesAndMinimaSurvivePacking) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    ScalesAndMinima values{};
    for (int j = 0; j < 8; ++j) {
      values.scale[j] = static_cast<uint8_t>(random() % 64);
      values.minimum[j] = static_cast<uint8_t>(random() % 64);
    }
    std::byte packed[12];
    pack_scales(values, packed);
    const ScalesAndMinima back = unpack_scales(packed);
    EXPECT_EQ(std::memcmp(&back, &values, sizeof values), 0);
  }
}

}  // namespace
}  // namespace graft::formats
