#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "ops/attention.h"
#include "ops/cross_entropy.h"
#include "ops/dropout.h"
#include "ops/dtype.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/silu_mul.h"
#include "ops/test_tensors.h"

namespace graft::ops {
namespace {

double tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 2e-5 : 2e-2; }

at::Tensor gradient(const at::Tensor& out, const at::Tensor& input, const at::Tensor& weight) {
  return torch::autograd::grad({(out.to(at::kFloat) * weight).sum()}, {input}, {}, {}, false, true)[0];
}

class OpsTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(7); }
  at::ScalarType dtype() const { return GetParam(); }
};

// A trainable adapter on a projection: dense factors and their packed forms.
struct TestLora {
  std::vector<at::Tensor> a, b;  // [rank, in], [n, rank]
  std::vector<LinearWeight> packed;
  std::vector<at::Tensor> grad_bt;
  at::Tensor grad_a;
  LoraLinear lora;
};

// Part p has the scale (p + 1) * scale.
std::unique_ptr<TestLora> make_lora(const LinearWeight& weight, const std::vector<int64_t>& ranks, double scale) {
  auto t = std::make_unique<TestLora>();
  t->packed.reserve(ranks.size() * 2 + 2);
  const auto keep = [&](const at::Tensor& dense) {
    t->packed.push_back(pack_linear({dense}, weight.dtype));
    return t->packed.back().parts[0].packed;
  };
  std::vector<at::Tensor> stacked;
  for (size_t p = 0; p < ranks.size(); ++p) {
    const int64_t n = weight.parts[p].n;
    t->a.push_back(random({ranks[p], weight.in_features}, 0.3));
    t->b.push_back(random({n, ranks[p]}, 0.3));
    const int64_t even = ranks[p] + ranks[p] % 2;
    at::Tensor a = at::zeros({even, weight.in_features});
    at::Tensor b = at::zeros({n, even});
    a.narrow(0, 0, ranks[p]).copy_(t->a[p]);
    b.narrow(1, 0, ranks[p]).copy_(t->b[p]);
    t->grad_bt.push_back(at::zeros({even, n}));
    LoraPart part;
    part.part = static_cast<int64_t>(p);
    part.column = t->lora.total_rank;
    part.rank = even;
    part.scale = static_cast<float>(scale * static_cast<double>(p + 1));
    t->lora.scales.resize(static_cast<size_t>(t->lora.total_rank + even), part.scale);
    part.b = keep(b);
    part.bt = keep(b.t());
    part.grad_bt = t->grad_bt.back().mutable_data_ptr<float>();
    t->lora.parts.push_back(part);
    t->lora.total_rank += even;
    stacked.push_back(a);
  }
  at::Tensor all = at::zeros({t->lora.total_rank, weight.in_features});
  int64_t row = 0;
  for (const at::Tensor& a : stacked) {
    all.narrow(0, row, a.size(0)).copy_(a);
    row += a.size(0);
  }
  t->lora.a = keep(all);
  t->lora.scales.resize(static_cast<size_t>((t->lora.total_rank + 15) / 16 * 16));
  t->lora.at = keep(all.t());
  t->grad_a = at::zeros({t->lora.total_rank, weight.in_features});
  t->lora.grad_a = t->grad_a.mutable_data_ptr<float>();
  return t;
}

TEST_P(OpsTest, PackedWeightsUnpackToThemselves) {
  const at::Tensor w = random({37, 24});
  EXPECT_TRUE(at::equal(unpack_linear(pack_linear({w}, dtype())), w.to(dtype())));
}

TEST_P(OpsTest, LinearWithGraftsEqualsTheComposedOp) {
  for (const auto& [tokens, in, n1, n2] :
       std::vector<std::array<int64_t, 4>>{{1, 32, 16, 16}, {5, 48, 40, 18}, {7, 64, 130, 66}, {200, 96, 64, 200}}) {
    const std::vector<at::Tensor> dense = {random({n1, in}), random({n2, in})};
    const LinearWeight weight = pack_linear(dense, dtype());
    const at::Tensor full = unpack_linear(weight);
    const auto first = make_lora(weight, {3, 8}, 0.5);
    const auto second = make_lora(weight, {16, 5}, 2.0);
    const int64_t cut = tokens / 2;
    const std::vector<LoraSegment> segments = {{0, cut, &first->lora}, {cut, tokens, &second->lora}};
    std::vector<DenseLora> loras;
    for (size_t p = 0; p < 2; ++p) {
      if (cut > 0)
        loras.push_back({0, cut, weight.parts[p].column, first->a[p], first->b[p], 0.5 * static_cast<double>(p + 1)});
      loras.push_back(
          {cut, tokens, weight.parts[p].column, second->a[p], second->b[p], 2.0 * static_cast<double>(p + 1)});
    }
    const at::Tensor x = random({tokens, in}).to(dtype());
    const std::vector<LoraSegment> used(segments.begin() + (cut > 0 ? 0 : 1), segments.end());
    EXPECT_LT(difference(linear(x, weight, used), linear_composed(x, full, loras)), tolerance(dtype()));
    const at::Tensor residual = random({tokens, n1 + n2});
    EXPECT_LT(difference(linear(x, weight, used, residual), linear_composed(x, full, loras, residual)),
              tolerance(dtype()));
  }
}

TEST_P(OpsTest, GradientsOfLinearEqualTheComposedOps) {
  const int64_t tokens = 203;
  const LinearWeight weight = pack_linear({random({66, 48}), random({34, 48})}, dtype());
  const auto t = make_lora(weight, {8, 5}, 0.7);
  const std::vector<LoraSegment> segments = {{0, tokens, &t->lora}};
  const at::Tensor x = random({tokens, 48}).to(dtype()).set_requires_grad(true);
  const at::Tensor direction = random({tokens, 100});
  const at::Tensor dx = gradient(linear(x, weight, segments), x, direction);

  std::vector<DenseLora> loras;
  for (size_t p = 0; p < 2; ++p) {
    t->a[p].set_requires_grad(true);
    t->b[p].set_requires_grad(true);
    loras.push_back({0, tokens, weight.parts[p].column, t->a[p], t->b[p], 0.7 * static_cast<double>(p + 1)});
  }
  const at::Tensor y = linear_composed(x, unpack_linear(weight), loras);
  const auto expected =
      torch::autograd::grad({(y.to(at::kFloat) * direction).sum()}, {x, t->a[0], t->b[0], t->a[1], t->b[1]});
  EXPECT_LT(difference(dx, expected[0]), tolerance(dtype()));
  EXPECT_LT(difference(t->grad_a.narrow(0, 0, 8), expected[1]), tolerance(dtype()));
  EXPECT_LT(difference(t->grad_bt[0].t(), expected[2]), tolerance(dtype()));
  EXPECT_LT(difference(t->grad_a.narrow(0, 8, 5), expected[3]), tolerance(dtype()));
  EXPECT_LT(difference(t->grad_bt[1].narrow(0, 0, 5).t(), expected[4]), tolerance(dtype()));
}

TEST_P(OpsTest, LinearWithDropoutHasTheGradientOfItsOwnForward) {
  // The adapter's share is linear in A: f(x, 2A) - f(x, A) must equal <gradient of A, A>, with the same mask.
  const int64_t tokens = 64;
  const LinearWeight weight = pack_linear({at::zeros({32, 48})}, dtype());
  const auto t = make_lora(weight, {8}, 1.0);
  t->lora.dropout = 0.25F;
  t->lora.dropout_stream = 99;
  const std::vector<LoraSegment> segments = {{0, tokens, &t->lora}};
  const at::Tensor x = random({tokens, 48}).to(dtype()).set_requires_grad(true);
  const at::Tensor direction = random({tokens, 32});
  const at::Tensor y = linear(x, weight, segments);
  const at::Tensor dx = gradient(y, x, direction);
  const double value = (y.to(at::kFloat) * direction).sum().item<double>();
  EXPECT_NEAR((t->grad_a.narrow(0, 0, 8) * t->a[0]).sum().item<double>(), value, std::abs(value) * 0.05 + 0.5);
  EXPECT_NEAR((dx.to(at::kFloat) * x.detach().to(at::kFloat)).sum().item<double>(), value,
              std::abs(value) * 0.05 + 0.5);
}

TEST_P(OpsTest, RowsOfLinearDoNotDependOnTheirNeighbours) {
  const LinearWeight weight = pack_linear({random({80, 64}), random({48, 64})}, dtype());
  const auto first = make_lora(weight, {8, 8}, 1.0);
  const auto second = make_lora(weight, {4, 16}, 1.0);
  const at::Tensor x = random({150, 64}).to(dtype());
  const std::vector<LoraSegment> segments = {
      {0, 1, &first->lora}, {1, 3, &second->lora}, {3, 4, &first->lora}, {10, 140, &second->lora}};
  const at::Tensor all = linear(x, weight, segments);
  for (const int64_t row : {0, 1, 2, 3, 5, 10, 77, 139, 145}) {
    std::vector<LoraSegment> alone;
    for (const LoraSegment& s : segments) {
      if (row >= s.row_begin && row < s.row_end) alone.push_back({0, 1, s.lora});
    }
    EXPECT_TRUE(at::equal(linear(x.narrow(0, row, 1).contiguous(), weight, alone), all.narrow(0, row, 1)))
        << "row " << row;
  }
}

TEST_P(OpsTest, RmsNormEqualsTheComposedOpWithItsGradient) {
  const at::Tensor x = random({9, 50}).set_requires_grad(true);
  const at::Tensor w = random({50});
  const at::Tensor direction = random({9, 50});
  const at::Tensor y = rms_norm(x, w, 1e-5, dtype());
  const at::Tensor expected = rms_norm_composed(x, w, 1e-5, dtype());
  EXPECT_LT(difference(y, expected), tolerance(dtype()));
  EXPECT_LT(difference(gradient(y, x, direction), gradient(expected, x, direction)), tolerance(dtype()));
}

TEST_P(OpsTest, SiluMulEqualsTheComposedOpWithItsGradient) {
  const at::Tensor x = random({11, 2 * 37}, 3.0).to(dtype()).set_requires_grad(true);
  const at::Tensor direction = random({11, 37});
  const at::Tensor y = silu_mul(x);
  const at::Tensor expected = silu_mul_composed(x);
  EXPECT_LT(difference(y, expected), tolerance(dtype()));
  EXPECT_LT(difference(gradient(y, x, direction), gradient(expected, x, direction)), tolerance(dtype()));
}

// A projection that makes its input again in the backward pass, against the same from its pieces.
void expect_same_gradients(const at::Tensor& fused, const at::Tensor& pieces, const at::Tensor& source, TestLora& lora,
                           double limit) {
  EXPECT_TRUE(at::equal(fused, pieces));
  const at::Tensor direction = random({fused.size(0), fused.size(1)});
  const at::Tensor expected = gradient(pieces, source, direction);
  const at::Tensor expected_a = lora.grad_a.clone();
  lora.grad_a.zero_();
  EXPECT_LT(difference(gradient(fused, source, direction), expected), limit);
  EXPECT_LT(difference(lora.grad_a, expected_a), limit);
  EXPECT_GT(expected_a.abs().max().item<float>(), 0.0F);
}

TEST_P(OpsTest, NormedLinearEqualsItsPieces) {
  const LinearWeight weight = pack_linear({random({66, 48}), random({34, 48})}, dtype());
  const auto lora = make_lora(weight, {8, 5}, 0.7);
  const std::vector<LoraSegment> segments = {{0, 41, &lora->lora}};
  const at::Tensor x = random({41, 48}).set_requires_grad(true);
  const at::Tensor norm = random({48});
  expect_same_gradients(normed_linear(x, norm, 1e-5, weight, segments).y,
                        linear(rms_norm(x, norm, 1e-5, dtype()), weight, segments), x, *lora, tolerance(dtype()));
}

TEST_P(OpsTest, WhatNormedLinearHandsOnCarriesItsGradientBack) {
  const LinearWeight weight = pack_linear({random({48, 48})}, dtype());
  const at::Tensor x = random({20, 48}).set_requires_grad(true);
  const at::Tensor norm = random({48});
  const NormedLinear out = normed_linear(x, norm, 1e-5, weight);
  EXPECT_TRUE(at::equal(out.x, x));
  const at::Tensor direction = random({20, 48});
  const at::Tensor joined = gradient(linear(out.y, weight, {}, out.x), x, direction);
  const at::Tensor apart =
      gradient(linear(linear(rms_norm(x, norm, 1e-5, dtype()), weight), weight, {}, x), x, direction);
  EXPECT_LT(difference(joined, apart), tolerance(dtype()));
  const NormedLinear unused = normed_linear(x, norm, 1e-5, weight);
  EXPECT_TRUE(at::equal(gradient(unused.x * 2.0, x, direction), direction * 2.0)) << "where nothing reads y";
}

TEST_P(OpsTest, SiluLinearEqualsItsPieces) {
  const LinearWeight weight = pack_linear({random({40, 50})}, dtype());
  const auto lora = make_lora(weight, {6}, 0.7);
  const std::vector<LoraSegment> segments = {{0, 41, &lora->lora}};
  const at::Tensor gate_up = random({41, 100}, 2.0).to(dtype()).set_requires_grad(true);
  const at::Tensor residual = random({41, 40});
  expect_same_gradients(silu_linear(gate_up, weight, segments, residual),
                        linear(silu_mul(gate_up), weight, segments, residual), gate_up, *lora, tolerance(dtype()));
}

TEST_P(OpsTest, TransposePadsWithZeros) {
  for (const auto& [rows, columns, width] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 2}, {37, 20, 38}, {64, 16, 80}}) {
    const at::Tensor x = random({rows, columns}).to(dtype());
    at::Tensor out = at::empty({columns, width}, x.options());
    typed_kernels(dtype()).transpose(x.const_data_ptr(), columns, rows, columns, width, out.mutable_data_ptr());
    at::Tensor expected = at::zeros({columns, width}, x.options());
    expected.narrow(1, 0, rows).copy_(x.t());
    EXPECT_TRUE(at::equal(out, expected)) << rows << " x " << columns;
  }
}

TEST_P(OpsTest, EmbeddingGathersRows) {
  const at::Tensor table = random({40, 24});
  const LinearWeight weight = pack_linear({table}, dtype());
  const std::vector<int32_t> tokens = {3, 39, 0, 3};
  const at::Tensor expected =
      at::index_select(table.to(dtype()), 0, at::tensor(std::vector<int64_t>{3, 39, 0, 3})).to(at::kFloat);
  EXPECT_TRUE(at::equal(embedding(tokens, weight), expected));
}

TEST_P(OpsTest, CrossEntropyEqualsAtensWithItsGradient) {
  const LinearWeight weight = pack_linear({random({333, 32}, 0.5)}, dtype());
  std::vector<int32_t> labels;
  for (int32_t i = 0; i < 150; ++i) labels.push_back(i * 7 % 333);
  const at::Tensor hidden = random({150, 32}).to(dtype()).set_requires_grad(true);
  const CrossEntropy result = linear_cross_entropy(hidden, weight, labels, 0.25);
  const at::Tensor logits = at::linear(hidden.to(at::kFloat), unpack_linear(weight).to(at::kFloat));
  const at::Tensor targets = at::tensor(std::vector<int64_t>(labels.begin(), labels.end()));
  const at::Tensor expected = at::cross_entropy_loss(logits, targets, {}, at::Reduction::Sum) * 0.25;
  EXPECT_NEAR(result.loss.item<double>(), expected.item<double>(), 1e-3 * expected.item<double>());
  EXPECT_NEAR(result.loss_sum * 0.25, expected.item<double>(), 1e-3 * expected.item<double>());
  EXPECT_LT(
      difference(torch::autograd::grad({result.loss}, {hidden})[0], torch::autograd::grad({expected}, {hidden})[0]),
      tolerance(dtype()));
}

TEST_P(OpsTest, DropoutKeepsTheMeanAndRepeatsItsMask) {
  const at::Tensor x = (at::zeros({200, 64}) + 1).to(dtype());
  const at::Tensor y = ops::dropout(x, 0.25, uint64_t{5});
  EXPECT_TRUE(at::equal(y, ops::dropout(x, 0.25, uint64_t{5})));
  EXPECT_FALSE(at::equal(y, ops::dropout(x, 0.25, uint64_t{6})));
  EXPECT_NEAR(y.to(at::kFloat).mean().item<double>(), 1.0, 0.03);
}

RopeTable rope_table(int64_t positions, int64_t head_dim) {
  at::Tensor angles = at::empty({positions, head_dim / 2});
  auto* to = angles.mutable_data_ptr<float>();
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      to[p * (head_dim / 2) + i] =
          static_cast<float>(p) * std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(head_dim));
    }
  }
  return {angles.cos(), angles.sin(), head_dim / 2};
}

TEST_P(OpsTest, PackedAttentionEqualsTheComposedOpWithItsGradient) {
  for (const int64_t d : {16, 64, 96}) {
    const AttentionShape shape{6, 2, d, 1.0F / std::sqrt(static_cast<float>(d))};
    const RopeTable rope = rope_table(256, d);
    const std::vector<int32_t> cu = {0, 1, 18, 83, 83 + 130, 83 + 130 + 64};
    const at::Tensor qkv = random({cu.back(), 10 * d}).to(dtype()).set_requires_grad(true);
    const at::Tensor direction = random({cu.back(), 6 * d});
    const at::Tensor out = packed_attention(qkv, shape, rope, cu);
    const at::Tensor expected = packed_attention_composed(qkv, shape, rope, cu);
    EXPECT_LT(difference(out, expected), tolerance(dtype()));
    EXPECT_LT(difference(gradient(out, qkv, direction), gradient(expected, qkv, direction)), 2 * tolerance(dtype()));
  }
}

// A sequence of 150 tokens through a cache full of garbage, cut this way, beside a neighbour of its own.
at::Tensor attend_in_slices(const at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope, KvLayer cache,
                            const std::vector<int64_t>& cuts) {
  const std::vector<int32_t> blocks = {7, 3, 19, 0, 11, 5, 2, 16, 8, 13};
  const std::vector<int32_t> other_blocks = {1, 4};
  for (at::Tensor* t : {&cache.k, &cache.v}) t->fill_(t->is_floating_point() ? NAN : 77);
  for (at::Tensor* t : {&cache.k_scales, &cache.v_scales}) {
    if (t->defined()) t->fill_(NAN);
  }
  std::vector<at::Tensor> outs;
  int64_t start = 0;
  for (const int64_t n : cuts) {
    at::Tensor batch = at::cat({random({3, qkv.size(1)}).to(qkv.scalar_type()), qkv.narrow(0, start, n)}, 0);
    batch = batch.contiguous();
    const std::vector<KvSequence> sequences = {{0, 3, 0, other_blocks}, {3, 3 + n, start, blocks}};
    outs.push_back(paged_attention(batch, shape, rope, cache, sequences).narrow(0, 3, n));
    start += n;
  }
  return at::cat(outs, 0);
}

TEST_P(OpsTest, PagedAttentionIsTheSameBitsHoweverASequenceIsCut) {
  const AttentionShape shape{4, 2, 32, 0.2F};
  const RopeTable rope = rope_table(256, 32);
  const at::Tensor qkv = random({150, 8 * 32}).to(dtype());
  const at::Tensor whole = packed_attention(qkv, shape, rope, {0, 150});
  const at::Tensor cut =
      attend_in_slices(qkv, shape, rope, make_kv_layer(20, shape, dtype()), {1, 40, 7, 64, 1, 1, 36});
  EXPECT_TRUE(at::equal(cut, whole));
}

TEST_P(OpsTest, AnInt8CacheIsNearTheDenseOneAndTheSameBitsHoweverCut) {
  const AttentionShape shape{4, 2, 48, 0.15F};
  const RopeTable rope = rope_table(256, 48);
  const at::Tensor qkv = random({150, 8 * 48}).to(dtype());
  const at::Tensor dense = packed_attention(qkv, shape, rope, {0, 150});
  const at::Tensor whole = attend_in_slices(qkv, shape, rope, make_kv_layer(20, shape, at::kChar), {150});
  const at::Tensor cut =
      attend_in_slices(qkv, shape, rope, make_kv_layer(20, shape, at::kChar), {1, 40, 7, 64, 1, 1, 36});
  EXPECT_TRUE(at::equal(cut, whole));
  EXPECT_LT(difference(whole, dense), 0.02);
  EXPECT_GT(difference(whole, dense), 0.0);
}

INSTANTIATE_TEST_SUITE_P(, OpsTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& tested) { return std::string(at::toString(tested.param)); });

}  // namespace
}  // namespace graft::ops
