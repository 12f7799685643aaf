#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace graft::formats {

enum class RopeKind { kDefault, kLinear, kLlama3 };

// Rotary position embedding in the half-split ("rotate_half") layout of Hugging Face checkpoints.
struct RopeSpec {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;  // kLinear, kLlama3
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position = 0;
};

// Everything the decoder must know about an architecture, as data. A family is a row of a table that fills this
// struct from config.json or GGUF metadata, never a subclass.
struct ModelSpec {
  std::string architecture;  // "LlamaForCausalLM"
  std::string model_type;    // "llama"
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position = 0;
  double rms_norm_eps = 1e-5;
  RopeSpec rope;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> pad_token_id;
  std::vector<int32_t> eos_token_ids;  // any of them ends a completion

  [[nodiscard]] int64_t parameter_count() const;
};

}  // namespace graft::formats
