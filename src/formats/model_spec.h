#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace graft::formats {

enum class RopeKind { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongRope };

// Rotary position embedding. Hugging Face's checkpoints pair the two halves of a head ("rotate_half"), a few families
// neighbouring elements (`interleaved`).
struct RopeSpec {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;  // all but kDefault
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position = 0;  // kLlama3, kYarn, kLongRope
  // kYarn (https://arxiv.org/abs/2309.00071); kLongRope shares attention_factor.
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  std::optional<double> attention_factor;  // multiplies cos and sin; nothing: what the paper says
  double mscale = 0.0;                     // 0: not given
  double mscale_all_dim = 0.0;
  bool truncate = true;  // whether the ramp's ends are whole numbers
  // kLongRope (https://arxiv.org/abs/2402.13753): divisors of the frequencies, up to the original context and beyond.
  std::vector<double> short_factor;
  std::vector<double> long_factor;
  int64_t rotary_dim = 0;  // the first elements of a head, which turn; 0: all of them
  bool interleaved = false;
  double local_theta = 0.0;  // in layers with a sliding window, unscaled; 0: as everywhere
};

enum class PositionKind { kRotary, kLearned, kAlibi };
enum class AttentionKind { kFull, kSliding, kNoPosition };  // kNoPosition: full, without rotary positions

enum class NormKind {
  kRms,
  kRmsPlusOne,    // multiplies by 1 + weight
  kLayer,         // mean and variance, weight and bias
  kLayerNoBias,   // weight only
  kLayerNoScale,  // neither
};

// Where a layer normalises. Parallel: attention and MLP both read the layer's input, and both are added to it.
enum class BlockKind {
  kPre,               // before attention and before the MLP
  kPost,              // behind them, before their results are added
  kPreAndPost,        // both
  kParallel,          // one norm for attention and MLP
  kParallelTwoNorms,  // one each
};

enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

enum class QkNorm {
  kNone,
  kHead,      // over each head, one weight for all: [head_dim]
  kEachHead,  // over each head, a weight for each: [heads, head_dim]
  kWhole,     // over all heads at once: [heads * head_dim]
};

// Mixture of experts: a layer's MLP is top_k of `experts` gated MLPs, weighted by a softmax over all of them.
struct MoeSpec {
  int64_t experts = 0;  // 0: plain MLPs
  int64_t top_k = 0;
  int64_t intermediate_size = 0;         // of one expert
  bool normalise_top_k = true;           // the weights of the chosen ones add up to 1
  int64_t shared_intermediate_size = 0;  // an expert that always takes part, behind a sigmoid gate; 0: none
  std::vector<int64_t> dense_layers;     // layers with a plain MLP
};

// Everything the decoder must know about an architecture, as data. A family is a row of a table that fills this
// struct from config.json or GGUF metadata, never a subclass.
struct ModelSpec {
  std::string architecture;       // "LlamaForCausalLM"
  std::string model_type;         // "llama"
  std::string weights = "llama";  // which weight names: see weight_names.h
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position = 0;

  PositionKind positions = PositionKind::kRotary;
  RopeSpec rope;
  std::vector<AttentionKind> attention;   // one per layer; empty: full attention everywhere
  int64_t sliding_window = 0;             // positions that a layer with a window sees, its own included
  std::optional<double> attention_scale;  // of the scores; nothing: 1 / sqrt(head_dim)
  double attention_soft_cap = 0.0;        // scores s become cap * tanh(s / cap); 0: none
  double clip_qkv = 0.0;                  // q, k and v are clamped to +-clip; 0: none
  double alibi_bias_max = 8.0;            // the slopes' exponent (kAlibi)
  QkNorm qk_norm = QkNorm::kNone;

  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-5;
  BlockKind block = BlockKind::kPre;
  bool embedding_norm = false;  // behind the embedding

  bool gated_mlp = true;  // down(activation(gate(x)) * up(x)), else down(activation(up(x)))
  Activation activation = Activation::kSilu;
  MoeSpec moe;

  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  // of attention's output projection
  bool mlp_bias = false;
  bool lm_head_bias = false;

  double embedding_multiplier = 1.0;
  double residual_multiplier = 1.0;  // of what a layer adds
  double logit_multiplier = 1.0;
  double logit_soft_cap = 0.0;

  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> pad_token_id;
  std::vector<int32_t> eos_token_ids;  // any of them ends a completion

  [[nodiscard]] int64_t parameter_count() const;
  [[nodiscard]] AttentionKind attention_of(int64_t layer) const {
    return attention.empty() ? AttentionKind::kFull : attention[static_cast<size_t>(layer)];
  }
  [[nodiscard]] bool is_moe_layer(int64_t layer) const;
};

}  // namespace graft::formats
