#include "formats/model_spec_json.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "formats/json_fields.h"
#include "formats/model_layout.h"

namespace graft::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// The names of enumerators, in the files that graft writes.
template <class Enum>
struct Name {
  Enum value;
  std::string_view name;
};

constexpr Name<RopeKind> kRopeNames[] = {{RopeKind::kDefault, "default"}, {RopeKind::kLinear, "linear"},
                                         {RopeKind::kDynamic, "dynamic"}, {RopeKind::kLlama3, "llama3"},
                                         {RopeKind::kYarn, "yarn"},       {RopeKind::kLongRope, "longrope"}};
constexpr Name<PositionKind> kPositionNames[] = {
    {PositionKind::kRotary, "rotary"}, {PositionKind::kLearned, "learned"}, {PositionKind::kAlibi, "alibi"}};
constexpr Name<AttentionKind> kAttentionNames[] = {
    {AttentionKind::kFull, "full"}, {AttentionKind::kSliding, "sliding"}, {AttentionKind::kNoPosition, "no_position"}};
constexpr Name<NormKind> kNormNames[] = {{NormKind::kRms, "rms"},
                                         {NormKind::kRmsPlusOne, "rms_plus_one"},
                                         {NormKind::kLayer, "layer"},
                                         {NormKind::kLayerNoBias, "layer_no_bias"},
                                         {NormKind::kLayerNoScale, "layer_no_scale"}};
constexpr Name<BlockKind> kBlockNames[] = {{BlockKind::kPre, "pre"},
                                           {BlockKind::kPost, "post"},
                                           {BlockKind::kPreAndPost, "pre_and_post"},
                                           {BlockKind::kParallel, "parallel"},
                                           {BlockKind::kParallelTwoNorms, "parallel_two_norms"}};
constexpr Name<Activation> kActivationNames[] = {{Activation::kSilu, "silu"},
                                                 {Activation::kGelu, "gelu"},
                                                 {Activation::kGeluTanh, "gelu_tanh"},
                                                 {Activation::kRelu, "relu"}};
constexpr Name<QkNorm> kQkNormNames[] = {
    {QkNorm::kNone, "none"}, {QkNorm::kHead, "head"}, {QkNorm::kEachHead, "each_head"}, {QkNorm::kWhole, "whole"}};

template <class Enum, size_t N>
std::string_view name_of(const Name<Enum> (&names)[N], Enum value) {
  for (const auto& entry : names) {
    if (entry.value == value) return entry.name;
  }
  return names[0].name;
}

template <class Enum, size_t N>
Status read_name(const Name<Enum> (&names)[N], const char* what, const std::string& name, Enum& value) {
  for (const auto& entry : names) {
    if (entry.name != name) continue;
    value = entry.value;
    return {};
  }
  return invalid(std::string(what) + " '" + printable(name) + "' is not known");
}

// Every key must be known, and those of `needed` be there. Records of earlier versions lack keys that came later.
Status check_keys(const json& value, const ordered_json& known_keys, std::initializer_list<const char*> needed) {
  std::vector<std::string> known;
  for (const auto& [key, unused] : known_keys.items()) known.push_back(key);
  if (!value.is_object()) return invalid("a model's spec must be an object");
  for (const auto& [key, unused] : value.items()) {
    if (!known_keys.contains(key)) return invalid("unknown key '" + printable(key) + "'" + suggestion(key, known));
  }
  for (const char* key : needed) {
    if (!value.contains(key)) return invalid("key '" + std::string(key) + "' is missing");
  }
  return {};
}

// What a record from before the families says, under today's keys.
json upgraded(json value) {
  if (!value.is_object()) return value;
  const auto rename = [&](const char* from, std::initializer_list<const char*> to) {
    const auto old = value.find(from);
    if (old == value.end()) return;
    const json held = *old;
    value.erase(from);
    for (const char* key : to) value[key] = held;
  };
  rename("rms_norm_eps", {"norm_eps"});
  rename("attention_bias", {"qkv_bias", "output_bias"});
  return value;
}

ordered_json optional_number(const std::optional<double>& number) {
  return number ? ordered_json(*number) : ordered_json();
}

Status read_optional(const JsonFields& fields, const char* key, std::optional<double>& number) {
  if (fields.has(key)) {
    GRAFT_TRY(number, fields.number(key));
  }
  return {};
}

ordered_json optional_id(const std::optional<int32_t>& id) { return id ? ordered_json(*id) : ordered_json(); }

Result<int32_t> to_id(const json& value) {
  if (value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() <= INT32_MAX)
    return value.get<int32_t>();
  return invalid("a token id must be a whole number");
}

Result<std::optional<int32_t>> read_id(const json& value) {
  if (value.is_null()) return std::optional<int32_t>();
  GRAFT_TRY(const int32_t id, to_id(value));
  return std::optional(id);
}

ordered_json rope_to_json(const RopeSpec& rope) {
  return {{"kind", name_of(kRopeNames, rope.kind)},
          {"theta", rope.theta},
          {"factor", rope.factor},
          {"low_freq_factor", rope.low_freq_factor},
          {"high_freq_factor", rope.high_freq_factor},
          {"original_max_position", rope.original_max_position},
          {"beta_fast", rope.beta_fast},
          {"beta_slow", rope.beta_slow},
          {"attention_factor", optional_number(rope.attention_factor)},
          {"mscale", rope.mscale},
          {"mscale_all_dim", rope.mscale_all_dim},
          {"truncate", rope.truncate},
          {"short_factor", rope.short_factor},
          {"long_factor", rope.long_factor},
          {"rotary_dim", rope.rotary_dim},
          {"interleaved", rope.interleaved},
          {"local_theta", rope.local_theta}};
}

Result<RopeSpec> rope_from_json(const json& value) {
  GRAFT_CHECK_OK(check_keys(value, rope_to_json({}), {"kind", "theta", "factor"}));
  const JsonFields fields(value);
  RopeSpec rope;
  GRAFT_TRY(const std::string kind, fields.text("kind"));
  GRAFT_CHECK_OK(read_name(kRopeNames, "rope kind", kind, rope.kind));
  GRAFT_TRY(rope.theta, fields.number("theta"));
  GRAFT_TRY(rope.factor, fields.number("factor"));
  GRAFT_TRY(rope.low_freq_factor, fields.number_or("low_freq_factor", rope.low_freq_factor));
  GRAFT_TRY(rope.high_freq_factor, fields.number_or("high_freq_factor", rope.high_freq_factor));
  GRAFT_TRY(rope.original_max_position, fields.integer_or("original_max_position", 0));
  GRAFT_TRY(rope.beta_fast, fields.number_or("beta_fast", rope.beta_fast));
  GRAFT_TRY(rope.beta_slow, fields.number_or("beta_slow", rope.beta_slow));
  GRAFT_CHECK_OK(read_optional(fields, "attention_factor", rope.attention_factor));
  GRAFT_TRY(rope.mscale, fields.number_or("mscale", 0));
  GRAFT_TRY(rope.mscale_all_dim, fields.number_or("mscale_all_dim", 0));
  GRAFT_TRY(rope.truncate, fields.boolean_or("truncate", true));
  if (fields.has("short_factor")) {
    GRAFT_TRY(rope.short_factor, fields.numbers("short_factor"));
  }
  if (fields.has("long_factor")) {
    GRAFT_TRY(rope.long_factor, fields.numbers("long_factor"));
  }
  GRAFT_TRY(rope.rotary_dim, fields.integer_or("rotary_dim", 0));
  GRAFT_TRY(rope.interleaved, fields.boolean_or("interleaved", false));
  GRAFT_TRY(rope.local_theta, fields.number_or("local_theta", 0));
  return rope;
}

ordered_json moe_to_json(const MoeSpec& moe) {
  return {{"experts", moe.experts},
          {"top_k", moe.top_k},
          {"intermediate_size", moe.intermediate_size},
          {"normalise_top_k", moe.normalise_top_k},
          {"shared_intermediate_size", moe.shared_intermediate_size},
          {"dense_layers", moe.dense_layers}};
}

Result<MoeSpec> moe_from_json(const json& value) {
  GRAFT_CHECK_OK(check_keys(value, moe_to_json({}), {"experts", "top_k", "intermediate_size"}));
  const JsonFields fields(value);
  MoeSpec moe;
  GRAFT_TRY(moe.experts, fields.integer("experts"));
  GRAFT_TRY(moe.top_k, fields.integer("top_k"));
  GRAFT_TRY(moe.intermediate_size, fields.integer("intermediate_size"));
  GRAFT_TRY(moe.normalise_top_k, fields.boolean_or("normalise_top_k", true));
  GRAFT_TRY(moe.shared_intermediate_size, fields.integer_or("shared_intermediate_size", 0));
  GRAFT_TRY(moe.dense_layers, fields.integers("dense_layers"));
  return moe;
}

Status read_sizes(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.vocab_size, fields.integer("vocab_size"));
  GRAFT_TRY(spec.hidden_size, fields.integer("hidden_size"));
  GRAFT_TRY(spec.intermediate_size, fields.integer("intermediate_size"));
  GRAFT_TRY(spec.num_layers, fields.integer("num_layers"));
  GRAFT_TRY(spec.num_heads, fields.integer("num_heads"));
  GRAFT_TRY(spec.num_kv_heads, fields.integer("num_kv_heads"));
  GRAFT_TRY(spec.head_dim, fields.integer("head_dim"));
  GRAFT_TRY(spec.max_position, fields.integer("max_position"));
  GRAFT_TRY(spec.norm_eps, fields.number("norm_eps"));
  return {};
}

Status read_attention(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(const std::string positions, fields.text_or("positions", "rotary"));
  GRAFT_CHECK_OK(read_name(kPositionNames, "kind of positions", positions, spec.positions));
  GRAFT_TRY(const std::vector<std::string> kinds, fields.texts("attention"));
  for (const std::string& kind : kinds) {
    spec.attention.emplace_back();
    GRAFT_CHECK_OK(read_name(kAttentionNames, "kind of attention", kind, spec.attention.back()));
  }
  GRAFT_TRY(spec.sliding_window, fields.integer_or("sliding_window", 0));
  GRAFT_CHECK_OK(read_optional(fields, "attention_scale", spec.attention_scale));
  GRAFT_TRY(spec.attention_soft_cap, fields.number_or("attention_soft_cap", 0));
  GRAFT_TRY(spec.clip_qkv, fields.number_or("clip_qkv", 0));
  GRAFT_TRY(spec.alibi_bias_max, fields.number_or("alibi_bias_max", 8));
  GRAFT_TRY(const std::string qk_norm, fields.text_or("qk_norm", "none"));
  return read_name(kQkNormNames, "norm of queries and keys", qk_norm, spec.qk_norm);
}

Status read_block(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(const std::string norm, fields.text_or("norm", "rms"));
  GRAFT_CHECK_OK(read_name(kNormNames, "norm", norm, spec.norm));
  GRAFT_TRY(const std::string block, fields.text_or("block", "pre"));
  GRAFT_CHECK_OK(read_name(kBlockNames, "block", block, spec.block));
  GRAFT_TRY(spec.embedding_norm, fields.boolean_or("embedding_norm", false));
  GRAFT_TRY(spec.gated_mlp, fields.boolean_or("gated_mlp", true));
  GRAFT_TRY(const std::string activation, fields.text_or("activation", "silu"));
  return read_name(kActivationNames, "activation", activation, spec.activation);
}

Status read_rest(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.tie_word_embeddings, fields.boolean_or("tie_word_embeddings", false));
  GRAFT_TRY(spec.qkv_bias, fields.boolean_or("qkv_bias", false));
  GRAFT_TRY(spec.output_bias, fields.boolean_or("output_bias", false));
  GRAFT_TRY(spec.mlp_bias, fields.boolean_or("mlp_bias", false));
  GRAFT_TRY(spec.lm_head_bias, fields.boolean_or("lm_head_bias", false));
  GRAFT_TRY(spec.embedding_multiplier, fields.number_or("embedding_multiplier", 1));
  GRAFT_TRY(spec.residual_multiplier, fields.number_or("residual_multiplier", 1));
  GRAFT_TRY(spec.logit_multiplier, fields.number_or("logit_multiplier", 1));
  GRAFT_TRY(spec.logit_soft_cap, fields.number_or("logit_soft_cap", 0));
  return {};
}

}  // namespace

ordered_json spec_to_json(const ModelSpec& spec) {
  ordered_json attention = ordered_json::array();
  for (const AttentionKind kind : spec.attention) attention.push_back(name_of(kAttentionNames, kind));
  return {{"architecture", spec.architecture},
          {"model_type", spec.model_type},
          {"weights", spec.weights},
          {"vocab_size", spec.vocab_size},
          {"hidden_size", spec.hidden_size},
          {"intermediate_size", spec.intermediate_size},
          {"num_layers", spec.num_layers},
          {"num_heads", spec.num_heads},
          {"num_kv_heads", spec.num_kv_heads},
          {"head_dim", spec.head_dim},
          {"max_position", spec.max_position},
          {"positions", name_of(kPositionNames, spec.positions)},
          {"rope", rope_to_json(spec.rope)},
          {"attention", attention},
          {"sliding_window", spec.sliding_window},
          {"attention_scale", optional_number(spec.attention_scale)},
          {"attention_soft_cap", spec.attention_soft_cap},
          {"clip_qkv", spec.clip_qkv},
          {"alibi_bias_max", spec.alibi_bias_max},
          {"qk_norm", name_of(kQkNormNames, spec.qk_norm)},
          {"norm", name_of(kNormNames, spec.norm)},
          {"norm_eps", spec.norm_eps},
          {"block", name_of(kBlockNames, spec.block)},
          {"embedding_norm", spec.embedding_norm},
          {"gated_mlp", spec.gated_mlp},
          {"activation", name_of(kActivationNames, spec.activation)},
          {"moe", moe_to_json(spec.moe)},
          {"tie_word_embeddings", spec.tie_word_embeddings},
          {"qkv_bias", spec.qkv_bias},
          {"output_bias", spec.output_bias},
          {"mlp_bias", spec.mlp_bias},
          {"lm_head_bias", spec.lm_head_bias},
          {"embedding_multiplier", spec.embedding_multiplier},
          {"residual_multiplier", spec.residual_multiplier},
          {"logit_multiplier", spec.logit_multiplier},
          {"logit_soft_cap", spec.logit_soft_cap},
          {"bos_token_id", optional_id(spec.bos_token_id)},
          {"pad_token_id", optional_id(spec.pad_token_id)},
          {"eos_token_ids", spec.eos_token_ids}};
}

Result<ModelSpec> spec_from_json(const json& given) {
  const json value = upgraded(given);
  GRAFT_CHECK_OK(check_keys(value, spec_to_json({}),
                            {"architecture", "model_type", "vocab_size", "hidden_size", "intermediate_size",
                             "num_layers", "num_heads", "num_kv_heads", "head_dim", "max_position", "norm_eps", "rope",
                             "bos_token_id", "pad_token_id", "eos_token_ids"}));
  const JsonFields fields(value);
  ModelSpec spec;
  GRAFT_TRY(spec.architecture, fields.text("architecture"));
  GRAFT_TRY(spec.model_type, fields.text("model_type"));
  GRAFT_TRY(spec.weights, fields.text_or("weights", "llama"));
  GRAFT_CHECK_OK(read_sizes(fields, spec));
  GRAFT_TRY(spec.rope, rope_from_json(value["rope"]));
  GRAFT_CHECK_OK(read_attention(fields, spec));
  GRAFT_CHECK_OK(read_block(fields, spec));
  if (fields.has("moe")) {
    GRAFT_TRY(spec.moe, moe_from_json(value["moe"]));
  }
  GRAFT_CHECK_OK(read_rest(fields, spec));
  GRAFT_TRY(spec.bos_token_id, read_id(value["bos_token_id"]));
  GRAFT_TRY(spec.pad_token_id, read_id(value["pad_token_id"]));
  if (!value["eos_token_ids"].is_array()) return invalid("key 'eos_token_ids' must be a list");
  for (const json& entry : value["eos_token_ids"]) {
    GRAFT_TRY(const int32_t id, to_id(entry));
    spec.eos_token_ids.push_back(id);
  }
  GRAFT_CHECK_OK(check_spec(spec));
  return spec;
}

}  // namespace graft::formats
