#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "formats/model_layout.h"
#include "formats/weight_names.h"

namespace graft::formats {
namespace {

Status in_range(const char* what, int64_t value, int64_t limit) {
  if (value >= 1 && value <= limit) return {};
  return invalid(std::string(what) + " is " + std::to_string(value) + "; it must be between 1 and " +
                 std::to_string(limit));
}

Status check_token(const char* what, int32_t id, int64_t vocab_size) {
  if (id >= 0 && id < vocab_size) return {};
  return invalid(std::string(what) + " " + std::to_string(id) + " is outside the vocabulary of " +
                 std::to_string(vocab_size));
}

Status check_tokens(const ModelSpec& spec) {
  if (spec.bos_token_id) GRAFT_CHECK_OK(check_token("bos_token_id", *spec.bos_token_id, spec.vocab_size));
  if (spec.pad_token_id) GRAFT_CHECK_OK(check_token("pad_token_id", *spec.pad_token_id, spec.vocab_size));
  for (const int32_t id : spec.eos_token_ids) GRAFT_CHECK_OK(check_token("eos_token_id", id, spec.vocab_size));
  return {};
}

Status check_sizes(const ModelSpec& spec) {
  // Generous limits: each product of three stays far below 2^63.
  constexpr int64_t kWidth = int64_t{1} << 20;
  GRAFT_CHECK_OK(in_range("vocab_size", spec.vocab_size, int64_t{1} << 24));
  GRAFT_CHECK_OK(in_range("hidden_size", spec.hidden_size, kWidth));
  GRAFT_CHECK_OK(in_range("intermediate_size", spec.intermediate_size, kWidth));
  GRAFT_CHECK_OK(in_range("the number of layers", spec.num_layers, 4096));
  GRAFT_CHECK_OK(in_range("the number of attention heads", spec.num_heads, 4096));
  GRAFT_CHECK_OK(in_range("the number of key-value heads", spec.num_kv_heads, spec.num_heads));
  GRAFT_CHECK_OK(in_range("head_dim", spec.head_dim, 4096));
  GRAFT_CHECK_OK(in_range("the context length", spec.max_position, int64_t{1} << 30));
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return invalid(std::to_string(spec.num_heads) + " attention heads cannot share " +
                   std::to_string(spec.num_kv_heads) + " key-value heads evenly");
  }
  return {};
}

Status check_rope_factors(const RopeSpec& rope, int64_t turning) {
  for (const auto* factors : {&rope.short_factor, &rope.long_factor}) {
    if (static_cast<int64_t>(factors->size()) != turning / 2) {
      return invalid("longrope scaling has " + std::to_string(factors->size()) + " factors; " +
                     std::to_string(turning / 2) + " pairs of a head turn");
    }
    if (!std::all_of(factors->begin(), factors->end(), [](double v) { return std::isfinite(v) && v > 0; })) {
      return invalid("longrope scaling factors must be positive");
    }
  }
  return {};
}

Status check_rope(const ModelSpec& spec) {
  const RopeSpec& rope = spec.rope;
  const int64_t turning = rope.rotary_dim == 0 ? spec.head_dim : rope.rotary_dim;
  if (turning < 2 || turning > spec.head_dim || turning % 2 != 0) {
    const std::string what = rope.rotary_dim == 0 ? "head_dim " : "the rotary part of a head, ";
    return invalid(what + std::to_string(turning) + ", is odd or out of range; rotary positions need pairs");
  }
  if (!(rope.theta > 0)) return invalid("rope_theta must be positive");
  if (!(rope.local_theta >= 0)) return invalid("rope_local_base_freq must be positive");
  if (!(rope.factor > 0)) return invalid("the rope scaling factor must be positive");
  if (rope.attention_factor && !(*rope.attention_factor > 0)) return invalid("attention_factor must be positive");
  const bool has_original =
      rope.kind == RopeKind::kLlama3 || rope.kind == RopeKind::kYarn || rope.kind == RopeKind::kLongRope;
  if (has_original) {
    GRAFT_CHECK_OK(in_range("original_max_position_embeddings", rope.original_max_position, int64_t{1} << 30));
  }
  if (rope.kind == RopeKind::kLlama3 && !(rope.low_freq_factor > 0 && rope.high_freq_factor > rope.low_freq_factor)) {
    return invalid("llama3 rope scaling needs 0 < low_freq_factor < high_freq_factor");
  }
  if (rope.kind == RopeKind::kYarn && !(rope.beta_slow > 0 && rope.beta_fast > rope.beta_slow)) {
    return invalid("yarn rope scaling needs 0 < beta_slow < beta_fast");
  }
  return rope.kind == RopeKind::kLongRope ? check_rope_factors(rope, turning) : Status();
}

Status check_attention(const ModelSpec& spec) {
  if (!spec.attention.empty() && static_cast<int64_t>(spec.attention.size()) != spec.num_layers) {
    return invalid("attention kinds are given for " + std::to_string(spec.attention.size()) + " layers of " +
                   std::to_string(spec.num_layers));
  }
  const bool slides =
      std::find(spec.attention.begin(), spec.attention.end(), AttentionKind::kSliding) != spec.attention.end();
  if (slides && spec.sliding_window < 1) return invalid("sliding_window must be positive where layers have a window");
  if (spec.attention_scale && !(*spec.attention_scale > 0)) return invalid("the attention's scale must be positive");
  if (!(spec.attention_soft_cap >= 0 && spec.logit_soft_cap >= 0 && spec.clip_qkv >= 0)) {
    return invalid("soft caps and clip_qkv must not be negative");
  }
  for (const double multiplier : {spec.embedding_multiplier, spec.residual_multiplier, spec.logit_multiplier}) {
    if (!std::isfinite(multiplier) || multiplier == 0) return invalid("a multiplier must not be zero");
  }
  return {};
}

Status check_moe(const ModelSpec& spec) {
  const MoeSpec& moe = spec.moe;
  if (moe.experts == 0) return {};
  GRAFT_CHECK_OK(in_range("the number of experts", moe.experts, 1024));
  GRAFT_CHECK_OK(in_range("the number of experts in all layers", moe.experts * spec.num_layers, int64_t{1} << 17));
  GRAFT_CHECK_OK(in_range("the number of experts per token", moe.top_k, moe.experts));
  GRAFT_CHECK_OK(in_range("moe_intermediate_size", moe.intermediate_size, int64_t{1} << 20));
  if (moe.shared_intermediate_size < 0 || moe.shared_intermediate_size > int64_t{1} << 20) {
    return invalid("shared_expert_intermediate_size is out of range");
  }
  for (const int64_t layer : moe.dense_layers) {
    if (layer < 0 || layer >= spec.num_layers) {
      return invalid("layer " + std::to_string(layer) + " of mlp_only_layers does not exist");
    }
  }
  return {};
}

// The names must have a place for everything that the spec says there is.
Status check_names(const ModelSpec& spec) {
  const WeightNames* names = weight_names(spec.weights);
  if (names == nullptr) return invalid("weight names '" + printable(spec.weights, 60) + "' are not known");
  const auto missing = [&](const char* what) {
    return invalid(std::string(what) + " have no place among the weight names '" + spec.weights + "'");
  };
  if (spec.positions == PositionKind::kLearned && names->positions.empty()) return missing("learned positions");
  if (spec.embedding_norm && names->embedding_norm.empty()) return missing("norms behind the embedding");
  if (spec.qk_norm != QkNorm::kNone && names->q_norm.empty()) return missing("norms of queries and keys");
  if (spec.moe.experts > 0 && names->experts.empty()) return missing("experts");
  if (spec.moe.shared_intermediate_size > 0 && names->shared_expert.empty()) return missing("shared experts");
  const bool has_gate = !names->gate.empty() || !names->gate_up.empty();
  if (spec.gated_mlp != has_gate) return missing(has_gate ? "plain MLPs" : "gated MLPs");
  return {};
}

}  // namespace

Status check_spec(const ModelSpec& spec) {
  GRAFT_CHECK_OK(check_sizes(spec));
  GRAFT_CHECK_OK(check_names(spec));
  if (!(spec.norm_eps > 0 && spec.norm_eps < 1))
    return invalid("the norms' epsilon (rms_norm_eps) must lie between 0 and 1");
  if (spec.positions == PositionKind::kRotary) GRAFT_CHECK_OK(check_rope(spec));
  GRAFT_CHECK_OK(check_attention(spec));
  GRAFT_CHECK_OK(check_moe(spec));
  return check_tokens(spec);
}

}  // namespace graft::formats
