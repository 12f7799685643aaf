#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "formats/json_fields.h"
#include "formats/model_spec.h"

namespace graft::formats {

// Which keys of config.json say that a projection has a bias.
enum class BiasRule {
  kNone,
  kKeys,          // attention_bias for q, k, v and o; mlp_bias for the MLP
  kAttentionKey,  // attention_bias only
  kQkv,           // q, k and v always have one
  kQkvKey,        // use_qkv_bias
  kAll,           // every projection has one
  kUseBias,       // use_bias
  kBias,          // bias
};

// What config.json calls the sizes.
struct SizeKeys {
  std::string_view hidden = "hidden_size";
  std::string_view intermediate = "intermediate_size";  // empty: four times the hidden size
  std::string_view layers = "num_hidden_layers";
  std::string_view heads = "num_attention_heads";
  std::string_view kv_heads = "num_key_value_heads";
  std::string_view context = "max_position_embeddings";
};

// A family is what differs between architectures that share the decoder. What config.json leaves out has the value of
// transformers' configuration class, so these are its defaults.
struct Family {
  std::string_view architecture;
  std::string_view model_type;
  std::string_view weights = "llama";
  SizeKeys keys = {};
  int64_t default_kv_heads = 0;  // 0: as many as heads
  int64_t default_head_dim = 0;  // 0: hidden size / heads
  int64_t default_context = 0;   // 0: config.json must say
  NormKind norm = NormKind::kRms;
  std::string_view eps_key = "rms_norm_eps";  // empty: default_eps always
  double default_eps = 1e-6;
  BlockKind block = BlockKind::kPre;
  QkNorm qk_norm = QkNorm::kNone;
  PositionKind positions = PositionKind::kRotary;
  std::string_view theta_key = "rope_theta";
  double default_theta = 10000.0;
  std::string_view partial_key = {};  // the share of a head that turns
  double default_partial = 1.0;
  bool interleaved_rope = false;
  bool gated = true;
  std::string_view activation_key = "hidden_act";  // empty: default_activation always
  std::string_view default_activation = "silu";
  BiasRule bias = BiasRule::kNone;
  bool tied = false;  // tie_word_embeddings' default
  // How layers alternate where there are no layer_types: every so-many-th layer sees everything. 0: they don't.
  int64_t full_attention_every = 0;
  int64_t default_window = 0;
  // What is left to say about the family, if anything.
  Status (*finish)(const JsonFields& fields, ModelSpec& spec) = nullptr;
  // Keys that only `finish` reads, separated by spaces.
  std::string_view more_keys = {};
};

std::span<const Family> hf_families();

}  // namespace graft::formats
