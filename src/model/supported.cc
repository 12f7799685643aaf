#include "model/supported.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

namespace graft::model {

namespace {

using formats::ModelSpec;

class Missing {
 public:
  void add_if(bool condition, std::string what) {
    if (condition) list_.push_back(std::move(what));
  }
  [[nodiscard]] Status status(const ModelSpec& spec) const {
    if (list_.empty()) return {};
    return unsupported(fmt::format("{}: the decoder has no {}", spec.architecture, fmt::join(list_, ", no ")));
  }

 private:
  std::vector<std::string> list_;
};

bool has_kind(const ModelSpec& spec, formats::AttentionKind kind) {
  return std::find(spec.attention.begin(), spec.attention.end(), kind) != spec.attention.end();
}

void check_attention(const ModelSpec& spec, Missing& missing) {
  const formats::RopeSpec& rope = spec.rope;
  using formats::RopeKind;
  missing.add_if(spec.positions == formats::PositionKind::kLearned, "learned positions");
  missing.add_if(spec.positions == formats::PositionKind::kAlibi, "ALiBi positions");
  missing.add_if(has_kind(spec, formats::AttentionKind::kSliding),
                 fmt::format("sliding windows (sliding_window {})", spec.sliding_window));
  missing.add_if(has_kind(spec, formats::AttentionKind::kNoPosition), "layers without positions");
  missing.add_if(rope.kind == RopeKind::kDynamic, "rope scaling of type dynamic");
  missing.add_if(rope.kind == RopeKind::kYarn, "rope scaling of type yarn");
  missing.add_if(rope.kind == RopeKind::kLongRope, "rope scaling of type longrope");
  missing.add_if(rope.rotary_dim != 0 && rope.rotary_dim != spec.head_dim,
                 "rotary positions on a part of each head (partial_rotary_factor)");
  missing.add_if(rope.interleaved, "rotary positions of neighbouring elements");
  missing.add_if(rope.local_theta != 0, "second rotary base for local layers");
  missing.add_if(spec.attention_scale.has_value(), "scale of attention other than 1 / sqrt(head_dim)");
  missing.add_if(spec.attention_soft_cap != 0, "soft cap on attention");
  missing.add_if(spec.clip_qkv != 0, "clipping of q, k and v");
  missing.add_if(spec.qk_norm != formats::QkNorm::kNone, "norms of queries and keys");
}

void check_block(const ModelSpec& spec, Missing& missing) {
  missing.add_if(spec.weights != "llama", fmt::format("weights under the names '{}'", spec.weights));
  missing.add_if(spec.norm != formats::NormKind::kRms, "norm but the plain RMS norm");
  missing.add_if(spec.block != formats::BlockKind::kPre, "layers but with norms before attention and MLP");
  missing.add_if(spec.embedding_norm, "norm behind the embedding");
  missing.add_if(!spec.gated_mlp, "MLPs without a gate");
  missing.add_if(spec.activation != formats::Activation::kSilu, "activation but silu");
  missing.add_if(spec.moe.experts > 0, "mixture of experts");
  missing.add_if(spec.qkv_bias || spec.output_bias || spec.mlp_bias || spec.lm_head_bias,
                 "projections with a bias (attention_bias, mlp_bias)");
  missing.add_if(spec.embedding_multiplier != 1 || spec.residual_multiplier != 1 || spec.logit_multiplier != 1,
                 "multipliers of embeddings, residuals or logits");
  missing.add_if(spec.logit_soft_cap != 0, "soft cap on logits");
}

}  // namespace

Status supported_by_decoder(const ModelSpec& spec) {
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return invalid(
        fmt::format("{} query heads are no multiple of {} key/value heads", spec.num_heads, spec.num_kv_heads));
  }
  Missing missing;
  check_attention(spec, missing);
  check_block(spec, missing);
  missing.add_if(spec.head_dim % 16 != 0 || spec.head_dim > 256,
                 fmt::format("attention for head_dim {}: it must be a multiple of 16 up to 256", spec.head_dim));
  missing.add_if(spec.hidden_size % 2 != 0 || spec.intermediate_size % 2 != 0, "odd hidden_size or intermediate_size");
  return missing.status(spec);
}

}  // namespace graft::model
