#include "model/decoder.h"

#include <cmath>

#include "model/supported.h"
#include "ops/embedding.h"
#include "ops/linear.h"
#include "ops/rms_norm.h"
#include "ops/silu_mul.h"
#include "ops/trainable_linear.h"

namespace graft::model {

namespace {

std::vector<ops::LoraSegment> lora_segments(std::span<const AdapterSegment> segments, int64_t layer, Linear which) {
  std::vector<ops::LoraSegment> out;
  for (const AdapterSegment& s : segments) {
    const ops::LoraLinear& lora = s.adapter->linear(layer, which);
    if (!lora.parts.empty()) out.push_back({s.row_begin, s.row_end, &lora});
  }
  return out;
}

}  // namespace

Result<Decoder> Decoder::create(formats::ModelSpec spec, Weights weights) {
  GRAFT_CHECK_OK(supported_by_decoder(spec));
  return Decoder(std::move(spec), std::move(weights));
}

Decoder::Decoder(formats::ModelSpec spec, Weights weights)
    : spec_(std::move(spec)), weights_(std::move(weights)), rope_(make_rope_table(spec_)) {}

ops::AttentionShape Decoder::attention_shape() const {
  return {spec_.num_heads, spec_.num_kv_heads, spec_.head_dim,
          static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec_.head_dim)))};
}

at::Tensor Decoder::embed(std::span<const int32_t> tokens) const { return ops::embedding(tokens, weights_.embedding); }

at::Tensor Decoder::forward(std::span<const int32_t> tokens, AttentionContext& attention,
                            std::span<const AdapterSegment> segments, bool track) const {
  return forward_embedded(embed(tokens), attention, segments, track);
}

at::Tensor Decoder::forward_embedded(at::Tensor embeddings, AttentionContext& attention,
                                     std::span<const AdapterSegment> segments, bool track) const {
  at::Tensor residual = std::move(embeddings);
  if (track) residual.requires_grad_(true);
  for (int64_t i = 0; i < spec_.num_layers; ++i) residual = layer(i, residual, attention, segments);
  return residual;
}

at::Tensor Decoder::layer(int64_t index, const at::Tensor& residual, AttentionContext& attention,
                          std::span<const AdapterSegment> segments) const {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  const auto segments_of = [&](Linear which) { return lora_segments(segments, index, which); };
  ops::NormedLinear qkv =
      ops::normed_linear(residual, layer.attention_norm, spec_.norm_eps, layer.linears[kQkv], segments_of(kQkv));
  const at::Tensor attended = attention.attend(index, qkv.y, attention_shape(), rope_);
  const at::Tensor middle = ops::linear(attended, layer.linears[kOut], segments_of(kOut), qkv.x);
  const ops::NormedLinear gate_up =
      ops::normed_linear(middle, layer.mlp_norm, spec_.norm_eps, layer.linears[kGateUp], segments_of(kGateUp));
  return ops::silu_linear(gate_up.y, layer.linears[kDownLinear], segments_of(kDownLinear), gate_up.x);
}

at::Tensor Decoder::trained_layer(int64_t index, const at::Tensor& residual, AttentionContext& attention,
                                  WeightGradients& gradients, const at::Tensor& known) const {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
  const auto project = [&](Linear which, const at::Tensor& x, const at::Tensor& add = {}, const at::Tensor& y = {}) {
    const auto consume = [&gradients, index, which](const at::Tensor& input, const at::Tensor& dy) {
      gradients.linear(index, which, input, dy);
    };
    return ops::trainable_linear(x, layer.linears[which], consume, add, y);
  };
  const auto norm = [&](const at::Tensor& x, const at::Tensor& weight, WeightGradients::Norm which) {
    const auto consume = [&gradients, index, which](const at::Tensor& dw) { gradients.norm(index, which, dw); };
    return ops::trainable_rms_norm(x, weight, spec_.norm_eps, weights_.dtype, consume);
  };
  at::Tensor qkv = project(kQkv, norm(residual, layer.attention_norm, WeightGradients::Norm::kAttention));
  const at::Tensor attended = attention.attend(index, qkv, attention_shape(), rope_);
  const at::Tensor middle = project(kOut, attended, residual);
  const at::Tensor gate_up = project(kGateUp, norm(middle, layer.mlp_norm, WeightGradients::Norm::kMlp));
  return project(kDownLinear, ops::silu_mul(gate_up), middle, known);
}

at::Tensor Decoder::final_norm(const at::Tensor& rows) const {
  return ops::rms_norm(rows, weights_.final_norm, spec_.norm_eps, weights_.dtype);
}

void Decoder::logits(const at::Tensor& normed, at::Tensor& out) const {
  ops::project_into(normed, weights_.lm_head, out);
}

at::Tensor PackedContext::attend(int64_t layer, at::Tensor& qkv, const ops::AttentionShape& shape,
                                 const ops::RopeTable& rope) {
  (void)layer;
  return ops::packed_attention(qkv, shape, rope, cu_seqlens_);
}

}  // namespace graft::model
