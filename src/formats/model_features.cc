#include "formats/model_features.h"

#include <algorithm>

namespace graft::formats {
namespace {

class Features {
 public:
  void add_if(bool condition, std::string what) {
    if (condition) list.push_back(std::move(what));
  }
  std::vector<std::string> list;
};

bool has_kind(const ModelSpec& spec, AttentionKind kind) {
  return std::find(spec.attention.begin(), spec.attention.end(), kind) != spec.attention.end();
}

void add_attention(const ModelSpec& spec, Features& features) {
  const RopeSpec& rope = spec.rope;
  features.add_if(spec.positions == PositionKind::kLearned, "learned positions");
  features.add_if(spec.positions == PositionKind::kAlibi, "ALiBi positions");
  features.add_if(has_kind(spec, AttentionKind::kSliding),
                  "sliding windows (sliding_window " + std::to_string(spec.sliding_window) + ")");
  features.add_if(has_kind(spec, AttentionKind::kNoPosition), "layers without positions");
  features.add_if(rope.kind == RopeKind::kDynamic, "rope scaling of type dynamic");
  features.add_if(rope.kind == RopeKind::kYarn, "rope scaling of type yarn");
  features.add_if(rope.kind == RopeKind::kLongRope, "rope scaling of type longrope");
  features.add_if(rope.rotary_dim != 0 && rope.rotary_dim != spec.head_dim,
                  "rotary positions on a part of each head (partial_rotary_factor)");
  features.add_if(rope.interleaved, "rotary positions of neighbouring elements");
  features.add_if(rope.local_theta != 0, "a second rotary base for local layers");
  features.add_if(spec.attention_scale.has_value(), "a scale of attention other than 1 / sqrt(head_dim)");
  features.add_if(spec.attention_soft_cap != 0, "a soft cap on attention");
  features.add_if(spec.clip_qkv != 0, "clipping of q, k and v");
  features.add_if(spec.qk_norm != QkNorm::kNone, "norms of queries and keys");
}

void add_block(const ModelSpec& spec, Features& features) {
  features.add_if(spec.weights != "llama", "weights under the names '" + spec.weights + "'");
  features.add_if(spec.norm != NormKind::kRms, "norms other than the plain RMS norm");
  features.add_if(spec.block != BlockKind::kPre, "norms elsewhere than before attention and MLP");
  features.add_if(spec.embedding_norm, "a norm behind the embedding");
  features.add_if(!spec.gated_mlp, "MLPs without a gate");
  features.add_if(spec.activation != Activation::kSilu, "an activation other than silu");
  features.add_if(spec.moe.experts > 0, "a mixture of experts");
  features.add_if(spec.lm_head_bias, "a bias of lm_head");
  features.add_if(spec.embedding_multiplier != 1 || spec.residual_multiplier != 1 || spec.logit_multiplier != 1,
                  "multipliers of embeddings, residuals or logits");
  features.add_if(spec.logit_soft_cap != 0, "a soft cap on logits");
}

}  // namespace

std::vector<std::string> features_beyond_llama(const ModelSpec& spec) {
  Features features;
  add_attention(spec, features);
  add_block(spec, features);
  return std::move(features.list);
}

}  // namespace graft::formats
