#include "formats/model_layout.h"

#include <array>
#include <string_view>

#include "formats/model_spec.h"

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

void add_linear(std::vector<WeightShape>& weights, const LinearModule& module, bool bias) {
  weights.push_back({module.path + ".weight", {module.out, module.in}});
  if (bias) weights.push_back({module.path + ".bias", {module.out}});
}

std::array<LinearModule, 7> layer_modules(const ModelSpec& spec, int64_t layer) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const int64_t hidden = spec.hidden_size;
  const int64_t query = spec.num_heads * spec.head_dim;
  const int64_t key = spec.num_kv_heads * spec.head_dim;
  return {LinearModule{prefix + "self_attn.q_proj", hidden, query},
          LinearModule{prefix + "self_attn.k_proj", hidden, key},
          LinearModule{prefix + "self_attn.v_proj", hidden, key},
          LinearModule{prefix + "self_attn.o_proj", query, hidden},
          LinearModule{prefix + "mlp.gate_proj", hidden, spec.intermediate_size},
          LinearModule{prefix + "mlp.up_proj", hidden, spec.intermediate_size},
          LinearModule{prefix + "mlp.down_proj", spec.intermediate_size, hidden}};
}

}  // namespace

Status check_spec(const ModelSpec& spec) {
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
  if (spec.head_dim % 2 != 0)
    return invalid("head_dim " + std::to_string(spec.head_dim) + " is odd; rotary positions need pairs");
  if (!(spec.rms_norm_eps > 0 && spec.rms_norm_eps < 1)) return invalid("rms_norm_eps must lie between 0 and 1");
  if (!(spec.rope.theta > 0)) return invalid("rope_theta must be positive");
  if (!(spec.rope.factor > 0)) return invalid("the rope scaling factor must be positive");
  if (spec.rope.kind == RopeKind::kLlama3) {
    if (!(spec.rope.low_freq_factor > 0 && spec.rope.high_freq_factor > spec.rope.low_freq_factor)) {
      return invalid("llama3 rope scaling needs 0 < low_freq_factor < high_freq_factor");
    }
    GRAFT_CHECK_OK(in_range("original_max_position_embeddings", spec.rope.original_max_position, int64_t{1} << 30));
  }
  if (spec.bos_token_id) GRAFT_CHECK_OK(check_token("bos_token_id", *spec.bos_token_id, spec.vocab_size));
  if (spec.pad_token_id) GRAFT_CHECK_OK(check_token("pad_token_id", *spec.pad_token_id, spec.vocab_size));
  for (const int32_t id : spec.eos_token_ids) GRAFT_CHECK_OK(check_token("eos_token_id", id, spec.vocab_size));
  return {};
}

std::vector<WeightShape> weight_shapes(const ModelSpec& spec) {
  std::vector<WeightShape> weights;
  weights.push_back({"model.embed_tokens.weight", {spec.vocab_size, spec.hidden_size}});
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto modules = layer_modules(spec, layer);
    weights.push_back({prefix + "input_layernorm.weight", {spec.hidden_size}});
    for (size_t i = 0; i < 4; ++i) add_linear(weights, modules[i], spec.attention_bias);
    weights.push_back({prefix + "post_attention_layernorm.weight", {spec.hidden_size}});
    for (size_t i = 4; i < modules.size(); ++i) add_linear(weights, modules[i], spec.mlp_bias);
  }
  weights.push_back({"model.norm.weight", {spec.hidden_size}});
  if (!spec.tie_word_embeddings) weights.push_back({"lm_head.weight", {spec.vocab_size, spec.hidden_size}});
  return weights;
}

std::vector<LinearModule> linear_modules(const ModelSpec& spec) {
  std::vector<LinearModule> modules;
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    for (LinearModule& module : layer_modules(spec, layer)) modules.push_back(std::move(module));
  }
  modules.push_back({"lm_head", spec.hidden_size, spec.vocab_size});
  return modules;
}

int64_t ModelSpec::parameter_count() const {
  int64_t count = 0;
  for (const WeightShape& weight : weight_shapes(*this)) {
    int64_t product = 1;
    for (const int64_t size : weight.shape) product *= size;
    count += product;
  }
  return count;
}

}  // namespace graft::formats
