// Products over quantised weights, against the dequantised weights and activations in ATen.
#include "ops/cpu/quant.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <bit>
#include <random>

#include "ops/cpu/f16.h"
#include "ops/linear.h"
#include "ops/test_tensors.h"

namespace graft::ops {
namespace {

using cpu::kInt4Group;
using cpu::WeightFormat;

// What a row becomes on its way into a product: 8 bits in groups.
at::Tensor rounded_activations(const at::Tensor& x, WeightFormat format) {
  const int64_t group_size = cpu::quant_group(format);
  at::Tensor out = x.to(at::kFloat).contiguous().clone();
  auto* values = out.mutable_data_ptr<float>();
  const int64_t k = x.size(1);
  for (int64_t row = 0; row < x.size(0); ++row) {
    for (int64_t begin = 0; begin < k; begin += group_size) {
      float* group = values + row * k + begin;
      const int64_t size = std::min(group_size, k - begin);
      float largest = 0;
      for (int64_t i = 0; i < size; ++i) largest = std::max(largest, std::fabs(group[i]));
      if (largest == 0) continue;
      const double inverse = 127.0F / largest;
      for (int64_t i = 0; i < size; ++i) {
        group[i] = static_cast<float>(std::nearbyint(group[i] * inverse) * (largest / 127.0F));
      }
    }
  }
  return out;
}

class QuantTest : public testing::TestWithParam<WeightFormat> {
 protected:
  void SetUp() override { at::manual_seed(11); }
};

// A's and B's of one adapter over a weight of one part.
struct Factors {
  Factors(const LinearWeight& weight, int64_t rank)
      : a(random({rank, weight.in_features}, 0.2)),
        b(random({weight.out_features, rank}, 0.2)),
        packed_a(pack_linear({a}, weight.dtype)),
        packed_b(pack_linear({b}, weight.dtype)) {
    lora.parts.push_back({0, 0, rank, 0.5F, packed_b.parts[0].packed});
    lora.total_rank = rank;
    lora.a = packed_a.parts[0].packed;
    lora.scales.assign(static_cast<size_t>((rank + 15) / 16 * 16), 0.5F);
  }
  at::Tensor a, b;
  LinearWeight packed_a, packed_b;
  LoraLinear lora;
};

TEST(F16, EveryFiniteNumberComesBackAndRoundingEqualsTorchs) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7c00U) == 0x7c00U) continue;  // infinities and NaN
    const cpu::f16 half{static_cast<uint16_t>(bits)};
    const float value = cpu::to_float(half);
    ASSERT_EQ(value, static_cast<float>(c10::Half(half.bits, c10::Half::from_bits()))) << bits;
    ASSERT_EQ(cpu::to_f16(value).bits, half.bits) << bits;
  }
  std::mt19937 engine(3);
  for (int i = 0; i < 100000; ++i) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(engine()));
    if (!(std::fabs(value) < cpu::kMaxF16)) continue;
    ASSERT_EQ(cpu::to_f16(value).bits, c10::Half(value).x) << value;
  }
}

TEST_P(QuantTest, WeightsComeBackWithinHalfAStep) {
  for (const int64_t k : {32, 40, 96, 576}) {
    const at::Tensor w = random({37, k});
    const at::Tensor back = unpack_linear(pack_linear({w}, at::kBFloat16, GetParam()));
    // Of 32 normal numbers the extremes are about 2 from zero: steps of 2 / 127 and 4 / 15.
    const double rms = (back - w).pow(2).mean().sqrt().item<double>();
    EXPECT_LT(rms, GetParam() == WeightFormat::kInt8 ? 0.006 : 0.09) << k;
    EXPECT_GT(rms, 0);
  }
}

TEST(Int4, WeightsOnAFourBitGridKeepTheirValues) {
  std::mt19937 engine(5);
  const int64_t k = 128;
  at::Tensor w = at::empty({48, k}, at::TensorOptions().dtype(at::kFloat));
  auto* values = w.mutable_data_ptr<float>();
  for (int64_t group = 0; group < w.numel() / kInt4Group; ++group) {
    const float scale = cpu::to_float(cpu::to_f16(std::ldexp(1.0F + static_cast<float>(engine() % 1000) / 1000, -7)));
    const bool q4_0 = group % 2 == 0;
    const float minimum =
        q4_0 ? -8 * scale : cpu::to_float(cpu::to_f16(-scale * static_cast<float>(engine() % 1600) / 100));
    const int least = static_cast<int>(engine() % 4);  // groups that miss the ends of the range, too
    for (int64_t i = 0; i < kInt4Group; ++i) {
      const int q =
          least + static_cast<int>(engine() % static_cast<unsigned>(16 - least - static_cast<int>(group % 3)));
      values[group * kInt4Group + i] = static_cast<float>(q) * scale + minimum;
    }
  }
  EXPECT_TRUE(at::equal(unpack_linear(pack_linear({w}, at::kBFloat16, WeightFormat::kInt4)), w));
}

TEST_P(QuantTest, LinearWithGraftsEqualsTheDequantisedProduct) {
  for (const auto& [tokens, in, out] :
       std::vector<std::array<int64_t, 3>>{{1, 32, 16}, {2, 40, 70}, {7, 576, 130}, {13, 96, 64}, {130, 200, 48}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const LinearWeight weight = pack_linear({random({out, in})}, dtype, GetParam());
      const Factors factors(weight, 6);
      const int64_t cut = tokens / 2;
      const std::vector<LoraSegment> segments = {{cut, tokens, &factors.lora}};
      const at::Tensor x = random({tokens, in}).to(dtype);
      const at::Tensor residual = random({tokens, out});
      const at::Tensor got = linear(x, weight, segments, residual);
      at::Tensor want = at::linear(rounded_activations(x, GetParam()), unpack_linear(weight)) + residual;
      // The adapter reads x as it is.
      const at::Tensor low = (at::linear(x.narrow(0, cut, tokens - cut), factors.a.to(dtype)) * 0.5).to(at::kFloat);
      want.narrow(0, cut, tokens - cut).add_(at::linear(low, factors.b.to(dtype).to(at::kFloat)));
      EXPECT_LT(difference(got, want), dtype == at::kFloat ? 2e-5 : 5e-3) << tokens << " x " << in << " x " << out;
      EXPECT_EQ(linear(x, weight).scalar_type(), dtype);
    }
  }
}

TEST_P(QuantTest, ARowDoesNotDependOnItsNeighbours) {
  const LinearWeight weight = pack_linear({random({200, 576})}, at::kBFloat16, GetParam());
  const Factors first(weight, 4);
  const Factors second(weight, 8);
  const at::Tensor x = random({40, 576}).to(at::kBFloat16);
  // A few rows each, as in decoding, beside a long run.
  const std::vector<LoraSegment> segments = {
      {3, 4, &first.lora}, {4, 9, &second.lora}, {9, 10, &first.lora}, {10, 12, &second.lora}, {12, 33, &first.lora}};
  const at::Tensor together = linear(x, weight, segments);
  for (int64_t row = 0; row < x.size(0); ++row) {
    std::vector<LoraSegment> own;
    for (const LoraSegment& s : segments) {
      if (row >= s.row_begin && row < s.row_end) own = {{0, 1, s.lora}};
    }
    EXPECT_TRUE(at::equal(linear(x.narrow(0, row, 1).contiguous(), weight, own), together.narrow(0, row, 1))) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(, QuantTest, testing::Values(WeightFormat::kInt8, WeightFormat::kInt4),
                         [](const auto& test) { return test.param == WeightFormat::kInt8 ? "int8" : "int4"; });

TEST_P(QuantTest, DequantisedPanelsHoldTheRowsValues) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [n, k] : {std::pair<int64_t, int64_t>{37, 96}, {16, 130}, {5, 33}}) {
      const LinearWeight weight = pack_linear({random({n, k}, 0.3), random({n + 3, k}, 0.3)}, dtype, GetParam());
      EXPECT_TRUE(at::equal(unpack_linear(dequantised(weight)), unpack_linear(weight).to(dtype)));
    }
  }
}

TEST_P(QuantTest, GradientIsThatOfTheValuesTheWeightsStandFor) {
  const at::Tensor w = random({48, 128}, 0.3);
  const LinearWeight quantised = pack_linear({w}, at::kFloat, GetParam());
  const LinearWeight dense = pack_linear({unpack_linear(quantised)}, at::kFloat);
  const at::Tensor dy = random({9, 48}, 1.0);
  const auto gradient = [&](const LinearWeight& weight) {
    at::Tensor x = random({9, 128}, 1.0).requires_grad_(true);
    linear(x, weight).backward(dy);
    return x.grad();
  };
  EXPECT_TRUE(at::equal(gradient(quantised), gradient(dense)));
}

}  // namespace
}  // namespace graft::ops
