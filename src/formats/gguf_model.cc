#include "formats/gguf_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/strings.h"
#include "formats/dequantise.h"
#include "formats/gguf_families.h"
#include "formats/model_layout.h"

namespace graft::formats {
namespace {

struct NamePair {
  std::string_view gguf;
  std::string_view hf;
};

constexpr std::array kGlobalNames = {
    NamePair{"token_embd", "model.embed_tokens"},
    NamePair{"output_norm", "model.norm"},
    NamePair{"output", "lm_head"},
};

constexpr std::array kLayerNames = {
    NamePair{"attn_norm", "input_layernorm"},    NamePair{"attn_q", "self_attn.q_proj"},
    NamePair{"attn_k", "self_attn.k_proj"},      NamePair{"attn_v", "self_attn.v_proj"},
    NamePair{"attn_output", "self_attn.o_proj"}, NamePair{"ffn_norm", "post_attention_layernorm"},
    NamePair{"ffn_gate", "mlp.gate_proj"},       NamePair{"ffn_up", "mlp.up_proj"},
    NamePair{"ffn_down", "mlp.down_proj"},       NamePair{"attn_q_norm", "self_attn.q_norm"},
    NamePair{"attn_k_norm", "self_attn.k_norm"},
};

constexpr std::string_view kGgufLayer = "blk.";
constexpr std::string_view kHfLayer = "model.layers.";

// Renames the stem of "STEM.weight" or "LAYER_PREFIX N.STEM.weight" by the two tables.
std::optional<std::string> rename(std::string_view name, std::string_view NamePair::* from,
                                  std::string_view NamePair::* to, std::string_view layer_from,
                                  std::string_view layer_to) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view kind = name.substr(dot);  // ".weight" or ".bias"
  if (kind != ".weight" && kind != ".bias") return std::nullopt;
  std::string_view stem = name.substr(0, dot);
  std::string prefix;
  bool in_layer = false;
  if (stem.starts_with(layer_from)) {
    stem.remove_prefix(layer_from.size());
    const size_t end = stem.find('.');
    if (end == std::string_view::npos || end == 0 || stem.find_first_not_of("0123456789") != end) return std::nullopt;
    prefix = std::string(layer_to) + std::string(stem.substr(0, end + 1));
    stem.remove_prefix(end + 1);
    in_layer = true;
  }
  const auto search = [&](const auto& table) -> std::optional<std::string> {
    for (const NamePair& pair : table) {
      if (pair.*from == stem) return prefix + std::string(pair.*to) + std::string(kind);
    }
    return std::nullopt;
  };
  return in_layer ? search(kLayerNames) : search(kGlobalNames);
}

// Every Llama 3 model uses low 1, high 4 and 8192; only the factor varies, and it is the largest divisor.
Result<RopeSpec> recover_llama3(const TensorView& tensor, RopeSpec rope, int64_t head_dim) {
  std::vector<float> stored(static_cast<size_t>(tensor.elements()));
  GRAFT_CHECK_OK(to_float32(tensor, stored));
  rope.kind = RopeKind::kLlama3;
  rope.low_freq_factor = 1;
  rope.high_freq_factor = 4;
  rope.original_max_position = 8192;
  rope.factor = 1;
  for (const float divisor : stored) rope.factor = std::max(rope.factor, static_cast<double>(divisor));
  const std::vector<double> expected = llama3_rope_divisors(rope, head_dim);
  bool same = expected.size() == stored.size() && std::isfinite(rope.factor);
  for (size_t i = 0; same && i < stored.size(); ++i) same = std::abs(stored[i] - expected[i]) <= 1e-4 * expected[i];
  if (!same) return unsupported("tensor 'rope_freqs.weight': its frequencies are not those of Llama 3's rope scaling");
  return rope;
}

Result<RopeSpec> read_rope(const GgufFile& file, int64_t head_dim) {
  const GgufMetadata& metadata = file.metadata();
  RopeSpec rope;
  GRAFT_TRY(rope.theta, metadata.number_or("llama.rope.freq_base", 10000.0));
  if (const TensorView* freqs = file.find("rope_freqs.weight")) return recover_llama3(*freqs, rope, head_dim);
  GRAFT_TRY(const std::string type, metadata.text_or("llama.rope.scaling.type", "none"));
  if (type == "none") return rope;
  if (type != "linear") {
    return unsupported("metadata key 'llama.rope.scaling.type': '" + printable(type) +
                       "' is not supported; supported: none, linear");
  }
  GRAFT_TRY(rope.factor, metadata.number("llama.rope.scaling.factor"));
  rope.kind = RopeKind::kLinear;
  return rope;
}

// A number, or an array that holds the same number for every layer.
Result<int64_t> uniform_integer(const GgufMetadata& metadata, std::string_view key, int64_t fallback) {
  const GgufValue* value = metadata.find(key);
  if (value == nullptr || !std::holds_alternative<GgufValue::Array>(value->value))
    return metadata.integer_or(key, fallback);
  GRAFT_TRY(const std::vector<int64_t> numbers, metadata.integers(key));
  for (const int64_t number : numbers) {
    if (number != numbers.front()) return unsupported("metadata key '" + std::string(key) + "' differs between layers");
  }
  if (numbers.empty()) return invalid("metadata key '" + std::string(key) + "' is empty");
  return numbers.front();
}

Status read_heads(const GgufMetadata& metadata, ModelSpec& spec) {
  GRAFT_TRY(spec.num_heads, metadata.integer("llama.attention.head_count"));
  GRAFT_TRY(spec.num_kv_heads, uniform_integer(metadata, "llama.attention.head_count_kv", spec.num_heads));
  if (spec.num_heads < 1) return invalid("metadata key 'llama.attention.head_count' must be at least 1");
  GRAFT_TRY(spec.head_dim, metadata.integer_or("llama.attention.key_length", spec.hidden_size / spec.num_heads));
  GRAFT_TRY(const int64_t value_dim, metadata.integer_or("llama.attention.value_length", spec.head_dim));
  GRAFT_TRY(const int64_t rotary, metadata.integer_or("llama.rope.dimension_count", spec.head_dim));
  if (value_dim != spec.head_dim) return unsupported("values of another width than keys are not supported");
  if (rotary != spec.head_dim) return unsupported("rotary positions on a part of each head are not supported");
  return {};
}

Result<std::optional<int32_t>> token(const GgufMetadata& metadata, std::string_view key, int64_t vocab_size) {
  if (!metadata.has(key)) return std::optional<int32_t>();
  GRAFT_TRY(const int64_t id, metadata.integer(key));
  if (id < 0 || id >= vocab_size) return invalid("metadata key '" + std::string(key) + "' is outside the vocabulary");
  return std::optional(static_cast<int32_t>(id));
}

// "eot" and "eom" end a turn where they are not the same token as "eos".
Status read_tokens(const GgufMetadata& metadata, ModelSpec& spec) {
  GRAFT_TRY(spec.bos_token_id, token(metadata, "tokenizer.ggml.bos_token_id", spec.vocab_size));
  GRAFT_TRY(spec.pad_token_id, token(metadata, "tokenizer.ggml.padding_token_id", spec.vocab_size));
  for (const std::string_view key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    GRAFT_TRY(const std::optional<int32_t> id, token(metadata, key, spec.vocab_size));
    if (!id) continue;
    if (std::find(spec.eos_token_ids.begin(), spec.eos_token_ids.end(), *id) == spec.eos_token_ids.end())
      spec.eos_token_ids.push_back(*id);
  }
  return {};
}

}  // namespace

std::optional<std::string> hf_name_of_gguf(std::string_view name) {
  return rename(name, &NamePair::gguf, &NamePair::hf, kGgufLayer, kHfLayer);
}

std::optional<std::string> gguf_name_of_hf(std::string_view name) {
  return rename(name, &NamePair::hf, &NamePair::gguf, kHfLayer, kGgufLayer);
}

std::vector<double> llama3_rope_divisors(const RopeSpec& rope, int64_t head_dim) {
  std::vector<double> divisors;
  const auto context = static_cast<double>(rope.original_max_position);
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double frequency = std::pow(rope.theta, -static_cast<double>(i) / static_cast<double>(head_dim));
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength < context / rope.high_freq_factor) {
      divisors.push_back(1);
    } else if (wavelength > context / rope.low_freq_factor) {
      divisors.push_back(rope.factor);
    } else {
      const double smooth =
          (context / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      divisors.push_back(1 / ((1 - smooth) / rope.factor + smooth));
    }
  }
  return divisors;
}

Result<ModelSpec> spec_from_gguf(const GgufFile& file) {
  const GgufMetadata& metadata = file.metadata();
  GRAFT_TRY(const std::string architecture, metadata.text("general.architecture"));
  GRAFT_TRY(const int64_t experts, metadata.integer_or("llama.expert_count", 0));
  if (architecture != "llama" || experts > 0) {
    GRAFT_TRY(ModelSpec other, spec_of_gguf_family(file, architecture));
    GRAFT_CHECK_OK(read_tokens(metadata, other));
    GRAFT_CHECK_OK(check_spec(other));
    return other;
  }
  ModelSpec spec;
  spec.architecture = "LlamaForCausalLM";
  spec.model_type = "llama";
  GRAFT_TRY(spec.num_layers, metadata.integer("llama.block_count"));
  GRAFT_TRY(spec.hidden_size, metadata.integer("llama.embedding_length"));
  GRAFT_TRY(spec.intermediate_size, metadata.integer("llama.feed_forward_length"));
  GRAFT_TRY(spec.max_position, metadata.integer("llama.context_length"));
  GRAFT_TRY(const double eps, metadata.number("llama.attention.layer_norm_rms_epsilon"));
  spec.norm_eps = shortest_decimal(eps);
  const TensorView* embeddings = file.find("token_embd.weight");
  if (embeddings == nullptr || embeddings->shape.size() != 2)
    return invalid("tensor 'token_embd.weight' is missing or no matrix");
  spec.vocab_size = embeddings->shape[0];
  GRAFT_TRY(const int64_t declared, metadata.integer_or("llama.vocab_size", spec.vocab_size));
  if (declared != spec.vocab_size)
    return invalid("metadata key 'llama.vocab_size' differs from the rows of 'token_embd.weight'");
  GRAFT_CHECK_OK(read_heads(metadata, spec));
  GRAFT_TRY(spec.rope, read_rope(file, spec.head_dim));
  spec.tie_word_embeddings = file.find("output.weight") == nullptr;
  spec.qkv_bias = file.find("blk.0.attn_q.bias") != nullptr;
  spec.output_bias = file.find("blk.0.attn_output.bias") != nullptr;
  spec.mlp_bias = file.find("blk.0.ffn_up.bias") != nullptr;
  GRAFT_CHECK_OK(read_tokens(metadata, spec));
  GRAFT_CHECK_OK(check_spec(spec));
  return spec;
}

}  // namespace graft::formats
