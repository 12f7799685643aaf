#include "formats/hf_families.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/strings.h"

namespace graft::formats {
namespace {

using nlohmann::json;

Status refuse_true(const JsonFields& fields, const char* key) {
  GRAFT_TRY(const bool value, fields.boolean_or(key, false));
  if (value) return unsupported(std::string(key) + " true is not supported");
  return {};
}

// Windows from the first layer on unless use_sliding_window says otherwise.
Status finish_qwen2(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(const bool slides, fields.boolean_or("use_sliding_window", false));
  if (!slides) {
    spec.attention.clear();
    spec.sliding_window = 0;
    return {};
  }
  if (fields.has("layer_types")) return {};
  GRAFT_TRY(const int64_t full, fields.integer_or("max_window_layers", 28));
  spec.attention.assign(static_cast<size_t>(spec.num_layers), AttentionKind::kSliding);
  for (int64_t i = 0; i < std::min(full, spec.num_layers); ++i)
    spec.attention[static_cast<size_t>(i)] = AttentionKind::kFull;
  return {};
}

// Every weight of a Gemma model is scaled so that embeddings need this.
Status finish_gemma(const JsonFields& fields, ModelSpec& spec) {
  spec.embedding_multiplier = std::sqrt(static_cast<double>(spec.hidden_size));
  GRAFT_TRY(const std::string activation, fields.text_or("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh")
    return unsupported("hidden_activation '" + printable(activation) + "' is not supported");
  return {};
}

Status finish_gemma2(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_CHECK_OK(finish_gemma(fields, spec));
  GRAFT_TRY(const double scalar, fields.number_or("query_pre_attn_scalar", 256));
  if (!(scalar > 0)) return invalid("key 'query_pre_attn_scalar' must be positive");
  spec.attention_scale = 1 / std::sqrt(scalar);
  GRAFT_TRY(spec.attention_soft_cap, fields.number_or("attn_logit_softcapping", 50));
  GRAFT_TRY(spec.logit_soft_cap, fields.number_or("final_logit_softcapping", 30));
  if (const json* cap = fields.raw("attn_logit_softcapping"); cap != nullptr && cap->is_null())
    spec.attention_soft_cap = 0;
  if (const json* cap = fields.raw("final_logit_softcapping"); cap != nullptr && cap->is_null())
    spec.logit_soft_cap = 0;
  return {};
}

Status finish_gemma3(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_CHECK_OK(finish_gemma(fields, spec));
  GRAFT_CHECK_OK(refuse_true(fields, "use_bidirectional_attention"));
  GRAFT_TRY(const double scalar, fields.number_or("query_pre_attn_scalar", 256));
  if (!(scalar > 0)) return invalid("key 'query_pre_attn_scalar' must be positive");
  spec.attention_scale = 1 / std::sqrt(scalar);
  GRAFT_TRY(spec.attention_soft_cap, fields.number_or("attn_logit_softcapping", 0));
  GRAFT_TRY(spec.logit_soft_cap, fields.number_or("final_logit_softcapping", 0));
  GRAFT_TRY(spec.rope.local_theta, fields.number_or("rope_local_base_freq", 10000));
  return {};
}

Status finish_phi(const JsonFields& fields, ModelSpec& spec) {
  spec.lm_head_bias = true;
  return refuse_true(fields, "qk_layernorm");
}

Status finish_mixtral(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.moe.experts, fields.integer_or("num_local_experts", 8));
  GRAFT_TRY(spec.moe.top_k, fields.integer_or("num_experts_per_tok", 2));
  spec.moe.intermediate_size = spec.intermediate_size;
  if (spec.moe.experts < 1) return invalid("key 'num_local_experts' must be at least 1");
  return {};
}

Status read_qwen_moe(const JsonFields& fields, int64_t experts, int64_t top_k, int64_t width, ModelSpec& spec) {
  GRAFT_TRY(spec.moe.experts, fields.integer_or("num_experts", experts));
  GRAFT_TRY(spec.moe.top_k, fields.integer_or("num_experts_per_tok", top_k));
  GRAFT_TRY(spec.moe.intermediate_size, fields.integer_or("moe_intermediate_size", width));
  GRAFT_TRY(spec.moe.normalise_top_k, fields.boolean_or("norm_topk_prob", false));
  GRAFT_TRY(const int64_t step, fields.integer_or("decoder_sparse_step", 1));
  GRAFT_TRY(const std::vector<int64_t> dense, fields.integers("mlp_only_layers"));
  if (step < 1) return invalid("key 'decoder_sparse_step' must be at least 1");
  if (spec.moe.experts < 1) return invalid("key 'num_experts' must be at least 1");
  spec.moe.dense_layers = dense;
  for (int64_t i = 0; i < spec.num_layers && i < 4096; ++i) {
    if ((i + 1) % step != 0) spec.moe.dense_layers.push_back(i);
  }
  return finish_qwen2(fields, spec);
}

Status finish_qwen2_moe(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.qkv_bias, fields.boolean_or("qkv_bias", true));
  GRAFT_TRY(spec.moe.shared_intermediate_size, fields.integer_or("shared_expert_intermediate_size", 5632));
  return read_qwen_moe(fields, 60, 4, 1408, spec);
}

Status finish_qwen3_moe(const JsonFields& fields, ModelSpec& spec) { return read_qwen_moe(fields, 128, 8, 768, spec); }

Status finish_gpt2(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_CHECK_OK(refuse_true(fields, "scale_attn_by_inverse_layer_idx"));
  GRAFT_CHECK_OK(refuse_true(fields, "add_cross_attention"));
  GRAFT_TRY(const bool scales, fields.boolean_or("scale_attn_weights", true));
  if (!scales) spec.attention_scale = 1;
  return {};
}

Status finish_gpt_neox(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(const bool parallel, fields.boolean_or("use_parallel_residual", true));
  spec.block = parallel ? BlockKind::kParallelTwoNorms : BlockKind::kPre;
  GRAFT_TRY(const bool bias, fields.boolean_or("attention_bias", true));
  spec.qkv_bias = spec.output_bias = bias;
  spec.mlp_bias = true;
  return {};
}

// Falcon 7B shares one key-value head and one norm; 40B and 180B have groups and two norms; 1B has ALiBi.
Status finish_falcon(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(const bool grouped, fields.boolean_or("new_decoder_architecture", false));
  GRAFT_TRY(const bool multi_query, fields.boolean_or("multi_query", true));
  GRAFT_TRY(const bool parallel, fields.boolean_or("parallel_attn", true));
  GRAFT_TRY(const bool alibi, fields.boolean_or("alibi", false));
  if (!grouped) spec.num_kv_heads = multi_query ? 1 : spec.num_heads;
  spec.positions = alibi ? PositionKind::kAlibi : PositionKind::kRotary;
  GRAFT_TRY(const int64_t norms, fields.integer_or("num_ln_in_parallel_attn", grouped ? 2 : 1));
  if (grouped && norms == 2) {
    spec.weights = "falcon_two_norms";
    spec.block = BlockKind::kParallelTwoNorms;
  } else {
    spec.block = parallel || grouped ? BlockKind::kParallel : BlockKind::kPre;
  }
  return {};
}

Status finish_stablelm(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(const bool parallel, fields.boolean_or("use_parallel_residual", false));
  if (parallel) spec.block = BlockKind::kParallel;
  return refuse_true(fields, "qk_layernorm");
}

Status finish_olmo(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.clip_qkv, fields.number_or("clip_qkv", 0));
  return {};
}

Status finish_granite(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.embedding_multiplier, fields.number_or("embedding_multiplier", 1));
  GRAFT_TRY(spec.residual_multiplier, fields.number_or("residual_multiplier", 1));
  GRAFT_TRY(spec.attention_scale, fields.number_or("attention_multiplier", 1));
  GRAFT_TRY(const double divisor, fields.number_or("logits_scaling", 1));
  if (divisor == 0) return invalid("key 'logits_scaling' must not be zero");
  spec.logit_multiplier = 1 / divisor;
  return {};
}

Status finish_cohere(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.logit_multiplier, fields.number_or("logit_scale", 0.0625));
  GRAFT_TRY(const bool norms, fields.boolean_or("use_qk_norm", false));
  if (norms) spec.qk_norm = QkNorm::kEachHead;
  return {};
}

// Its layers without a window have no positions either.
Status finish_cohere2(const JsonFields& fields, ModelSpec& spec) {
  for (AttentionKind& kind : spec.attention) {
    if (kind == AttentionKind::kFull) kind = AttentionKind::kNoPosition;
  }
  return finish_cohere(fields, spec);
}

// Every fourth layer has no positions, or those that no_rope_layers marks with 0.
Status finish_smollm3(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_CHECK_OK(finish_qwen2(fields, spec));
  GRAFT_TRY(std::vector<int64_t> turns, fields.integers("no_rope_layers"));
  GRAFT_TRY(const int64_t interval, fields.integer_or("no_rope_layer_interval", 4));
  if (turns.empty()) {
    if (interval < 1) return invalid("key 'no_rope_layer_interval' must be at least 1");
    for (int64_t i = 0; i < spec.num_layers && i < 4096; ++i) turns.push_back((i + 1) % interval != 0 ? 1 : 0);
  }
  if (static_cast<int64_t>(turns.size()) != spec.num_layers) {
    return invalid("key 'no_rope_layers' has " + std::to_string(turns.size()) + " entries for " +
                   std::to_string(spec.num_layers) + " layers");
  }
  if (spec.attention.empty()) spec.attention.assign(turns.size(), AttentionKind::kFull);
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i] != 0) continue;
    if (spec.attention[i] == AttentionKind::kSliding)
      return unsupported("a layer with a window and without rotary positions is not supported");
    spec.attention[i] = AttentionKind::kNoPosition;
  }
  return {};
}

Status finish_mpt(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(const bool no_bias, fields.boolean_or("no_bias", true));
  if (!no_bias) return unsupported("no_bias false is not supported");
  // transformers makes MLPs four times as wide whatever the key says, so nobody has trained others with it.
  GRAFT_TRY(const double ratio, fields.number_or("expansion_ratio", 4));
  if (ratio != 4) return unsupported("expansion_ratio other than 4 is not supported");
  const json* given = fields.find("attn_config");
  const json empty = json::object();
  if (given != nullptr && !given->is_object()) return invalid("key 'attn_config' must be an object");
  const JsonFields attention(given != nullptr ? *given : empty);
  GRAFT_TRY(const bool alibi, attention.boolean_or("alibi", true));
  GRAFT_TRY(const double bias_max, attention.number_or("alibi_bias_max", 8));
  GRAFT_TRY(spec.clip_qkv, attention.number_or("clip_qkv", 0));
  if (!alibi) return unsupported("attn_config.alibi false is not supported");
  GRAFT_CHECK_OK(refuse_true(attention, "qk_ln"));
  GRAFT_CHECK_OK(refuse_true(attention, "prefix_lm"));
  spec.alibi_bias_max = bias_max;
  if (attention.has("softmax_scale")) {
    GRAFT_TRY(spec.attention_scale, attention.number("softmax_scale"));
  }
  return {};
}

Status finish_bloom(const JsonFields& fields, ModelSpec& spec) {
  spec.embedding_norm = true;
  return refuse_true(fields, "apply_residual_connection_post_layernorm");
}

constexpr std::string_view kQwenKeys = "use_sliding_window max_window_layers";
constexpr std::string_view kMoeKeys =
    "use_sliding_window max_window_layers num_experts num_experts_per_tok moe_intermediate_size norm_topk_prob "
    "decoder_sparse_step mlp_only_layers shared_expert_intermediate_size qkv_bias";
constexpr std::string_view kGemmaKeys =
    "hidden_activation query_pre_attn_scalar attn_logit_softcapping final_logit_softcapping rope_local_base_freq "
    "use_bidirectional_attention sliding_window_pattern _sliding_window_pattern";
constexpr SizeKeys kGpt2Keys = {"n_embd", "n_inner", "n_layer", "n_head", "", "n_positions"};
constexpr SizeKeys kGptNeoXKeys = {.kv_heads = ""};
constexpr SizeKeys kMptKeys = {"d_model", "", "n_layers", "n_heads", "", "max_seq_len"};
constexpr SizeKeys kBloomKeys = {"hidden_size", "", "n_layer", "n_head", "", ""};
constexpr SizeKeys kFalconKeys = {"hidden_size",         "ffn_hidden_size", "num_hidden_layers",
                                  "num_attention_heads", "num_kv_heads",    "max_position_embeddings"};

constexpr std::array kFamilies = {
    Family{.architecture = "LlamaForCausalLM", .model_type = "llama", .bias = BiasRule::kKeys},
    Family{
        .architecture = "MistralForCausalLM", .model_type = "mistral", .default_kv_heads = 8, .default_window = 4096},
    Family{.architecture = "MixtralForCausalLM",
           .model_type = "mixtral",
           .weights = "mixtral",
           .default_kv_heads = 8,
           .default_eps = 1e-5,
           .default_theta = 1e6,
           .finish = finish_mixtral,
           .more_keys = "num_local_experts num_experts_per_tok"},
    Family{.architecture = "Qwen2ForCausalLM",
           .model_type = "qwen2",
           .default_kv_heads = 32,
           .bias = BiasRule::kQkv,
           .default_window = 4096,
           .finish = finish_qwen2,
           .more_keys = kQwenKeys},
    Family{.architecture = "Qwen3ForCausalLM",
           .model_type = "qwen3",
           .default_kv_heads = 32,
           .default_head_dim = 128,
           .qk_norm = QkNorm::kHead,
           .bias = BiasRule::kAttentionKey,
           .default_window = 4096,
           .finish = finish_qwen2,
           .more_keys = kQwenKeys},
    Family{.architecture = "Qwen2MoeForCausalLM",
           .model_type = "qwen2_moe",
           .weights = "qwen_moe",
           .default_kv_heads = 16,
           .bias = BiasRule::kQkv,
           .default_window = 4096,
           .finish = finish_qwen2_moe,
           .more_keys = kMoeKeys},
    Family{.architecture = "Qwen3MoeForCausalLM",
           .model_type = "qwen3_moe",
           .weights = "qwen_moe",
           .default_kv_heads = 4,
           .qk_norm = QkNorm::kHead,
           .bias = BiasRule::kAttentionKey,
           .default_window = 4096,
           .finish = finish_qwen3_moe,
           .more_keys = kMoeKeys},
    Family{.architecture = "GemmaForCausalLM",
           .model_type = "gemma",
           .default_kv_heads = 16,
           .default_head_dim = 256,
           .norm = NormKind::kRmsPlusOne,
           .activation_key = "",
           .default_activation = "gelu_pytorch_tanh",
           .bias = BiasRule::kAttentionKey,
           .tied = true,
           .finish = finish_gemma,
           .more_keys = kGemmaKeys},
    Family{.architecture = "Gemma2ForCausalLM",
           .model_type = "gemma2",
           .weights = "gemma2",
           .default_kv_heads = 4,
           .default_head_dim = 256,
           .norm = NormKind::kRmsPlusOne,
           .block = BlockKind::kPreAndPost,
           .activation_key = "",
           .default_activation = "gelu_pytorch_tanh",
           .bias = BiasRule::kAttentionKey,
           .tied = true,
           .full_attention_every = 2,
           .default_window = 4096,
           .finish = finish_gemma2,
           .more_keys = kGemmaKeys},
    Family{.architecture = "Gemma3ForCausalLM",
           .model_type = "gemma3_text",
           .weights = "gemma2",
           .default_kv_heads = 4,
           .default_head_dim = 256,
           .norm = NormKind::kRmsPlusOne,
           .block = BlockKind::kPreAndPost,
           .qk_norm = QkNorm::kHead,
           .default_theta = 1e6,
           .activation_key = "",
           .default_activation = "gelu_pytorch_tanh",
           .bias = BiasRule::kAttentionKey,
           .tied = true,
           .full_attention_every = 6,
           .default_window = 4096,
           .finish = finish_gemma3,
           .more_keys = kGemmaKeys},
    Family{.architecture = "PhiForCausalLM",
           .model_type = "phi",
           .weights = "phi",
           .norm = NormKind::kLayer,
           .eps_key = "layer_norm_eps",
           .default_eps = 1e-5,
           .block = BlockKind::kParallel,
           .partial_key = "partial_rotary_factor",
           .default_partial = 0.5,
           .gated = false,
           .default_activation = "gelu_new",
           .bias = BiasRule::kAll,
           .finish = finish_phi,
           .more_keys = "qk_layernorm"},
    Family{.architecture = "Phi3ForCausalLM",
           .model_type = "phi3",
           .weights = "phi3",
           .default_eps = 1e-5,
           .partial_key = "partial_rotary_factor"},
    Family{.architecture = "GPT2LMHeadModel",
           .model_type = "gpt2",
           .weights = "gpt2",
           .keys = kGpt2Keys,
           .norm = NormKind::kLayer,
           .eps_key = "layer_norm_epsilon",
           .default_eps = 1e-5,
           .positions = PositionKind::kLearned,
           .gated = false,
           .activation_key = "activation_function",
           .default_activation = "gelu_new",
           .bias = BiasRule::kAll,
           .tied = true,
           .finish = finish_gpt2,
           .more_keys = "scale_attn_by_inverse_layer_idx add_cross_attention scale_attn_weights"},
    Family{.architecture = "GPTNeoXForCausalLM",
           .model_type = "gpt_neox",
           .weights = "gpt_neox",
           .keys = kGptNeoXKeys,
           .norm = NormKind::kLayer,
           .eps_key = "layer_norm_eps",
           .default_eps = 1e-5,
           .block = BlockKind::kParallelTwoNorms,
           .theta_key = "rotary_emb_base",
           .partial_key = "rotary_pct",
           .default_partial = 0.25,
           .gated = false,
           .default_activation = "gelu",
           .finish = finish_gpt_neox,
           .more_keys = "use_parallel_residual attention_bias"},
    Family{.architecture = "FalconForCausalLM",
           .model_type = "falcon",
           .weights = "falcon",
           .keys = kFalconKeys,
           .default_context = 2048,
           .norm = NormKind::kLayer,
           .eps_key = "layer_norm_epsilon",
           .default_eps = 1e-5,
           .gated = false,
           .activation_key = "activation",
           .default_activation = "gelu",
           .bias = BiasRule::kBias,
           .tied = true,
           .finish = finish_falcon,
           .more_keys = "new_decoder_architecture multi_query parallel_attn alibi num_ln_in_parallel_attn"},
    Family{.architecture = "StableLmForCausalLM",
           .model_type = "stablelm",
           .default_kv_heads = 32,
           .norm = NormKind::kLayer,
           .eps_key = "layer_norm_eps",
           .default_eps = 1e-5,
           .partial_key = "partial_rotary_factor",
           .default_partial = 0.25,
           .bias = BiasRule::kQkvKey,
           .finish = finish_stablelm,
           .more_keys = "use_parallel_residual qk_layernorm"},
    Family{.architecture = "OlmoForCausalLM",
           .model_type = "olmo",
           .norm = NormKind::kLayerNoScale,
           .eps_key = "",
           .default_eps = 1e-5,
           .bias = BiasRule::kAttentionKey,
           .finish = finish_olmo,
           .more_keys = "clip_qkv"},
    Family{.architecture = "Olmo2ForCausalLM",
           .model_type = "olmo2",
           .weights = "olmo2",
           .default_eps = 1e-5,
           .block = BlockKind::kPost,
           .qk_norm = QkNorm::kWhole,
           .bias = BiasRule::kAttentionKey},
    Family{.architecture = "GraniteForCausalLM",
           .model_type = "granite",
           .bias = BiasRule::kKeys,
           .finish = finish_granite,
           .more_keys = "embedding_multiplier residual_multiplier attention_multiplier logits_scaling"},
    Family{.architecture = "SmolLM3ForCausalLM",
           .model_type = "smollm3",
           .default_kv_heads = 4,
           .default_theta = 2e6,
           .bias = BiasRule::kKeys,
           .tied = true,
           .finish = finish_smollm3,
           .more_keys = "use_sliding_window max_window_layers no_rope_layers no_rope_layer_interval"},
    Family{.architecture = "Starcoder2ForCausalLM",
           .model_type = "starcoder2",
           .weights = "starcoder2",
           .default_kv_heads = 2,
           .norm = NormKind::kLayer,
           .eps_key = "norm_epsilon",
           .default_eps = 1e-5,
           .gated = false,
           .default_activation = "gelu_pytorch_tanh",
           .bias = BiasRule::kUseBias,
           .tied = true},
    Family{.architecture = "CohereForCausalLM",
           .model_type = "cohere",
           .weights = "cohere",
           .norm = NormKind::kLayerNoBias,
           .eps_key = "layer_norm_eps",
           .default_eps = 1e-5,
           .block = BlockKind::kParallel,
           .interleaved_rope = true,
           .bias = BiasRule::kAttentionKey,
           .tied = true,
           .finish = finish_cohere,
           .more_keys = "logit_scale use_qk_norm"},
    Family{.architecture = "Cohere2ForCausalLM",
           .model_type = "cohere2",
           .weights = "cohere",
           .norm = NormKind::kLayerNoBias,
           .eps_key = "layer_norm_eps",
           .default_eps = 1e-5,
           .block = BlockKind::kParallel,
           .interleaved_rope = true,
           .bias = BiasRule::kAttentionKey,
           .tied = true,
           .full_attention_every = 4,
           .default_window = 4096,
           .finish = finish_cohere2,
           .more_keys = "logit_scale sliding_window_pattern _sliding_window_pattern"},
    Family{.architecture = "MptForCausalLM",
           .model_type = "mpt",
           .weights = "mpt",
           .keys = kMptKeys,
           .norm = NormKind::kLayerNoBias,
           .eps_key = "layer_norm_epsilon",
           .default_eps = 1e-5,
           .positions = PositionKind::kAlibi,
           .gated = false,
           .activation_key = "",
           .default_activation = "gelu",
           .tied = true,
           .finish = finish_mpt,
           .more_keys = "no_bias expansion_ratio attn_config"},
    Family{.architecture = "BloomForCausalLM",
           .model_type = "bloom",
           .weights = "bloom",
           .keys = kBloomKeys,
           .default_context = 2048,
           .norm = NormKind::kLayer,
           .eps_key = "layer_norm_epsilon",
           .default_eps = 1e-5,
           .positions = PositionKind::kAlibi,
           .gated = false,
           .activation_key = "",
           .default_activation = "gelu_new",
           .bias = BiasRule::kAll,
           .tied = true,
           .finish = finish_bloom,
           .more_keys = "apply_residual_connection_post_layernorm"},
};

}  // namespace

std::span<const Family> hf_families() { return kFamilies; }

}  // namespace graft::formats
