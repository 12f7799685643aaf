#include "formats/weight_names.h"

#include <algorithm>
#include <array>

namespace graft::formats {
namespace {

// What most families share.
constexpr WeightNames kLlama = {.key = "llama",
                                .embedding = "model.embed_tokens",
                                .layer = "model.layers.",
                                .attention_norm = "input_layernorm",
                                .mlp_norm = "post_attention_layernorm",
                                .q = "self_attn.q_proj",
                                .k = "self_attn.k_proj",
                                .v = "self_attn.v_proj",
                                .o = "self_attn.o_proj",
                                .q_norm = "self_attn.q_norm",
                                .k_norm = "self_attn.k_norm",
                                .gate = "mlp.gate_proj",
                                .up = "mlp.up_proj",
                                .down = "mlp.down_proj",
                                .final_norm = "model.norm",
                                .lm_head = "lm_head"};

constexpr WeightNames phi() {
  WeightNames names = kLlama;
  names.key = "phi";
  names.mlp_norm = "";
  names.o = "self_attn.dense";
  names.q_norm = names.k_norm = "";
  names.gate = "";
  names.up = "mlp.fc1";
  names.down = "mlp.fc2";
  names.final_norm = "model.final_layernorm";
  return names;
}

constexpr WeightNames phi3() {
  WeightNames names = kLlama;
  names.key = "phi3";
  names.qkv_layout = QkvLayout::kConcatenated;
  names.qkv = "self_attn.qkv_proj";
  names.q = names.k = names.v = names.q_norm = names.k_norm = "";
  names.gate_up = "mlp.gate_up_proj";
  names.gate = names.up = "";
  return names;
}

// Gemma 2 and 3: the norm behind attention has the name that others give to the one before the MLP.
constexpr WeightNames gemma2() {
  WeightNames names = kLlama;
  names.key = "gemma2";
  names.attention_post_norm = "post_attention_layernorm";
  names.mlp_norm = "pre_feedforward_layernorm";
  names.mlp_post_norm = "post_feedforward_layernorm";
  return names;
}

constexpr WeightNames olmo2() {
  WeightNames names = kLlama;
  names.key = "olmo2";
  names.attention_norm = names.mlp_norm = "";
  names.attention_post_norm = "post_attention_layernorm";
  names.mlp_post_norm = "post_feedforward_layernorm";
  return names;
}

constexpr WeightNames cohere() {
  WeightNames names = kLlama;
  names.key = "cohere";
  names.mlp_norm = "";
  return names;
}

constexpr WeightNames starcoder2() {
  WeightNames names = kLlama;
  names.key = "starcoder2";
  names.gate = "";
  names.up = "mlp.c_fc";
  names.down = "mlp.c_proj";
  return names;
}

constexpr WeightNames mixtral() {
  WeightNames names = kLlama;
  names.key = "mixtral";
  names.router = "block_sparse_moe.gate";
  names.experts = "block_sparse_moe.experts.";
  names.expert_gate = "w1";
  names.expert_up = "w3";
  names.expert_down = "w2";
  return names;
}

constexpr WeightNames qwen_moe() {
  WeightNames names = kLlama;
  names.key = "qwen_moe";
  names.router = "mlp.gate";
  names.experts = "mlp.experts.";
  names.expert_gate = "gate_proj";
  names.expert_up = "up_proj";
  names.expert_down = "down_proj";
  names.shared_expert = "mlp.shared_expert.";
  names.shared_expert_gate = "mlp.shared_expert_gate";
  return names;
}

constexpr WeightNames kGpt2 = {.key = "gpt2",
                               .embedding = "transformer.wte",
                               .positions = "transformer.wpe",
                               .layer = "transformer.h.",
                               .attention_norm = "ln_1",
                               .mlp_norm = "ln_2",
                               .qkv_layout = QkvLayout::kConcatenated,
                               .qkv = "attn.c_attn",
                               .o = "attn.c_proj",
                               .up = "mlp.c_fc",
                               .down = "mlp.c_proj",
                               .final_norm = "transformer.ln_f",
                               .lm_head = "lm_head",
                               .transposed = true};

constexpr WeightNames kGptNeoX = {.key = "gpt_neox",
                                  .embedding = "gpt_neox.embed_in",
                                  .layer = "gpt_neox.layers.",
                                  .attention_norm = "input_layernorm",
                                  .mlp_norm = "post_attention_layernorm",
                                  .qkv_layout = QkvLayout::kByHead,
                                  .qkv = "attention.query_key_value",
                                  .o = "attention.dense",
                                  .up = "mlp.dense_h_to_4h",
                                  .down = "mlp.dense_4h_to_h",
                                  .final_norm = "gpt_neox.final_layer_norm",
                                  .lm_head = "embed_out"};

constexpr WeightNames kBloom = {.key = "bloom",
                                .embedding = "transformer.word_embeddings",
                                .embedding_norm = "transformer.word_embeddings_layernorm",
                                .layer = "transformer.h.",
                                .attention_norm = "input_layernorm",
                                .mlp_norm = "post_attention_layernorm",
                                .qkv_layout = QkvLayout::kByHead,
                                .qkv = "self_attention.query_key_value",
                                .o = "self_attention.dense",
                                .up = "mlp.dense_h_to_4h",
                                .down = "mlp.dense_4h_to_h",
                                .final_norm = "transformer.ln_f",
                                .lm_head = "lm_head"};

// The first Falcon 7B has one key-value head, so its groups are a concatenation.
constexpr WeightNames falcon() {
  WeightNames names = kBloom;
  names.key = "falcon";
  names.embedding_norm = "";
  names.qkv_layout = QkvLayout::kByGroup;
  return names;
}

constexpr WeightNames falcon_two_norms() {
  WeightNames names = falcon();
  names.key = "falcon_two_norms";
  names.attention_norm = "ln_attn";
  names.mlp_norm = "ln_mlp";
  return names;
}

constexpr WeightNames kMpt = {.key = "mpt",
                              .embedding = "transformer.wte",
                              .layer = "transformer.blocks.",
                              .attention_norm = "norm_1",
                              .mlp_norm = "norm_2",
                              .qkv_layout = QkvLayout::kConcatenated,
                              .qkv = "attn.Wqkv",
                              .o = "attn.out_proj",
                              .up = "ffn.up_proj",
                              .down = "ffn.down_proj",
                              .final_norm = "transformer.norm_f",
                              .lm_head = "lm_head"};

constexpr std::array kTable = {kLlama,   phi(),        phi3(),    gemma2(),           olmo2(),
                               cohere(), starcoder2(), mixtral(), qwen_moe(),         kGpt2,
                               kGptNeoX, kBloom,       falcon(),  falcon_two_norms(), kMpt};

}  // namespace

const WeightNames* weight_names(std::string_view key) {
  const auto found =
      std::find_if(kTable.begin(), kTable.end(), [&](const WeightNames& names) { return names.key == key; });
  return found != kTable.end() ? &*found : nullptr;
}

}  // namespace graft::formats
