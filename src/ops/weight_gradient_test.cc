#include "ops/weight_gradient.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <atomic>

#include "ops/cpu/transpose.h"
#include "ops/cross_entropy.h"
#include "ops/dtype.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/test_tensors.h"
#include "ops/trainable_linear.h"

namespace graft::ops {
namespace {

class WeightGradientTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(7); }
  at::ScalarType dtype() const { return GetParam(); }
  double tolerance() const { return dtype() == at::kFloat ? 2e-5 : 1e-2; }
};
INSTANTIATE_TEST_SUITE_P(, WeightGradientTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& tested) { return std::string(at::toString(tested.param)); });

// Puts the blocks of a gradient back together: [out, in]. Rows past a part's last must be zero.
struct Collector {
  explicit Collector(const LinearWeight& of)
      : weight(of), dense(at::zeros({of.out_features, of.in_features}, at::TensorOptions().dtype(at::kFloat))) {}

  double operator()(const GradientBlock& block) {
    ++blocks;
    const cpu::WeightPart& part = weight.parts[static_cast<size_t>(block.part)];
    for (int64_t k = 0; k < block.columns; ++k) {
      for (int64_t r = 0; r < kGradientRows; ++r) {
        const float value = block.values[k * kGradientRows + r];
        if (r >= block.rows) {
          stray += value != 0;
          continue;
        }
        auto* row = dense.mutable_data_ptr<float>() + (part.column + block.first_row + r) * weight.in_features;
        row[block.first_column + k] = value;
      }
    }
    return 1.0;
  }

  const LinearWeight& weight;
  at::Tensor dense;
  std::atomic<int64_t> blocks = 0, stray = 0;
};

TEST_P(WeightGradientTest, IsTheOuterProductOfInputAndGradient) {
  for (const int64_t tokens : {1, 2, 7, 64, 333, 2050}) {
    for (const int64_t in : {16, 64, 200, 390}) {
      const LinearWeight weight = pack_linear({random({66, in}), random({20, in}), random({128, in})}, dtype());
      const at::Tensor x = random({tokens, in}).to(dtype());
      const at::Tensor dy = random({tokens, 214}).to(dtype());
      Collector got(weight);
      const double taken = weight_gradient(x, dy, weight, [&](const GradientBlock& block) { return got(block); });
      EXPECT_EQ(taken, got.blocks);
      EXPECT_EQ(got.stray, 0);
      const at::Tensor expected = dy.to(at::kDouble).t().matmul(x.to(at::kDouble));
      EXPECT_LT(difference(got.dense, expected), 1e-5) << tokens << " x " << in;
    }
  }
}

TEST_P(WeightGradientTest, ATransposedMatrixIsTheTranspose) {
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {8, 16}, {65, 130}, {77, 9}}) {
    const at::Tensor from = random({rows, columns}).to(dtype());
    const int64_t ld = cpu::transposed_stride(rows + rows % 2);
    at::Tensor to = at::zeros({columns, ld}, from.options()) + 5;
    if (dtype() == at::kBFloat16) {
      cpu::transpose(data<cpu::bf16>(from), columns, rows, columns, mutable_data<cpu::bf16>(to), ld);
    } else {
      cpu::transpose(data<float>(from), columns, rows, columns, mutable_data<float>(to), ld);
    }
    EXPECT_TRUE(at::equal(to.narrow(1, 0, rows), from.t()));
    if (rows % 2 == 0) continue;
    EXPECT_EQ(to.narrow(1, rows, 1).abs().max().item<double>(), 0);
  }
}

TEST_P(WeightGradientTest, ATrainableLinearIsLinearAndHandsOutWhatItsGradientIsMadeOf) {
  const at::Tensor dense = random({96, 64});
  const LinearWeight weight = pack_linear({dense.narrow(0, 0, 64), dense.narrow(0, 64, 32)}, dtype());
  for (const bool with_residual : {false, true}) {
    at::Tensor x = random({37, 64}).to(dtype()).requires_grad_(true);
    at::Tensor same_x = x.detach().clone().requires_grad_(true);
    at::Tensor residual = with_residual ? random({37, 96}).requires_grad_(true) : at::Tensor();
    const at::Tensor pull = random({37, 96});
    Collector got(weight);
    const auto consume = [&](const at::Tensor& input, const at::Tensor& dy) {
      weight_gradient(input, dy, weight, [&](const GradientBlock& block) { return got(block); });
    };
    const at::Tensor y = trainable_linear(x, weight, consume, residual);
    const at::Tensor plain = linear(same_x, weight, {}, with_residual ? residual.detach() : at::Tensor());
    EXPECT_TRUE(at::equal(y, plain));
    y.backward(pull.to(y.scalar_type()));
    plain.backward(pull.to(y.scalar_type()));
    EXPECT_TRUE(at::equal(x.grad(), same_x.grad()));
    EXPECT_TRUE(!with_residual || at::equal(residual.grad(), pull));
    const at::Tensor expected = pull.to(dtype()).to(at::kDouble).t().matmul(x.detach().to(at::kDouble));
    EXPECT_LT(difference(got.dense, expected), 1e-5);
    // A result that is known is not computed: the backward pass is the same.
    const at::Tensor known = random({37, 96}).to(y.scalar_type());
    x.mutable_grad().zero_();
    const at::Tensor again = trainable_linear(x, weight, consume, residual, known);
    EXPECT_TRUE(at::equal(again, known));
    again.backward(pull.to(y.scalar_type()));
    EXPECT_TRUE(at::equal(x.grad(), same_x.grad()));
  }
}

TEST_P(WeightGradientTest, ATrainableNormIsTheNormAndHandsOutItsGradient) {
  at::Tensor x = random({131, 48}).requires_grad_(true);
  at::Tensor same_x = x.detach().clone().requires_grad_(true);
  const at::Tensor weight = random({48});
  at::Tensor got;
  const at::Tensor y = trainable_rms_norm(x, weight, 1e-5, dtype(), [&](const at::Tensor& g) { got = g; });
  const at::Tensor plain = rms_norm(same_x, weight, 1e-5, dtype());
  EXPECT_TRUE(at::equal(y, plain));
  const at::Tensor pull = random({131, 48}).to(dtype());
  y.backward(pull);
  plain.backward(pull);
  EXPECT_TRUE(at::equal(x.grad(), same_x.grad()));
  at::Tensor w = weight.to(at::kDouble).requires_grad_(true);
  rms_norm_composed(x.detach().to(at::kDouble), w, 1e-5, at::kDouble).backward(pull.to(at::kDouble));
  EXPECT_LT(difference(got, w.grad()), 1e-5);
}

// Both uses of a tied table, and each alone, against autograd in double.
TEST_P(WeightGradientTest, AVocabularysGradientIsThatOfBothItsUses) {
  const int64_t vocab = 150;
  const int64_t in = 200;
  const at::Tensor table = random({vocab, in}, 0.3);
  const LinearWeight weight = pack_linear({table}, dtype());
  const at::Tensor exact = unpack_linear(weight).to(at::kDouble);
  for (const int64_t rows : {1, 5, 90}) {
    const at::Tensor hidden = random({rows, in}, 0.5).to(dtype());
    std::vector<int32_t> labels;
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < rows; ++i) labels.push_back(static_cast<int32_t>(i * 37 % vocab));
    for (int64_t i = 0; i < 64; ++i) tokens.push_back(static_cast<int32_t>(i * i % vocab));
    const at::Tensor pull = random({64, in}, 0.01);
    const CrossEntropy loss = linear_cross_entropy(hidden, weight, labels, 0.25);
    const OutputGradient output{hidden, labels, loss.losses, 0.25};
    const InputGradient input{tokens, pull};
    const auto index = [](const std::vector<int32_t>& ids) {
      return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()));
    };
    for (const auto& [with_output, with_input] : {std::pair(true, true), {true, false}, {false, true}}) {
      Collector got(weight);
      vocabulary_gradient(weight, with_output ? &output : nullptr, with_input ? &input : nullptr,
                          [&](const GradientBlock& block) { return got(block); });
      EXPECT_EQ(got.stray, 0);
      at::Tensor w = exact.clone().requires_grad_(true);
      at::Tensor sum = at::zeros({}, w.options());
      if (with_output) {
        const at::Tensor scores = at::linear(hidden.to(at::kDouble), w);
        sum = sum + 0.25 * at::cross_entropy_loss(scores, index(labels), {}, at::Reduction::Sum);
      }
      if (with_input) sum = sum + (at::embedding(w, index(tokens)) * pull.to(at::kDouble)).sum();
      sum.backward();
      EXPECT_LT(difference(got.dense, w.grad()), tolerance()) << rows;
    }
  }
}

}  // namespace
}  // namespace graft::ops
