#include "formats/model_layout.h"

#include <algorithm>
#include <string_view>

#include "formats/model_spec.h"
#include "formats/weight_names.h"

namespace graft::formats {
namespace {

int64_t product(const std::vector<int64_t>& shape) {
  int64_t result = 1;
  for (const int64_t size : shape) result *= size;
  return result;
}

// Writes down the weights of a model, in the order of the forward pass; linear layers also by themselves.
class Layout {
 public:
  explicit Layout(const ModelSpec& spec) : spec_(spec), names_(*weight_names(spec.weights)) {
    const std::string embedding(names_.embedding);
    weights.push_back({embedding + ".weight", {spec_.vocab_size, spec_.hidden_size}});
    if (spec_.positions == PositionKind::kLearned) {
      weights.push_back({std::string(names_.positions) + ".weight", {spec_.max_position, spec_.hidden_size}});
    }
    if (spec_.embedding_norm) norm(std::string(names_.embedding_norm));
    for (int64_t layer = 0; layer < spec_.num_layers; ++layer) add_layer(layer);
    norm(std::string(names_.final_norm));
    const std::string head(names_.lm_head);
    modules.push_back({head, spec_.hidden_size, spec_.vocab_size});
    if (!spec_.tie_word_embeddings) weights.push_back({head + ".weight", {spec_.vocab_size, spec_.hidden_size}});
    if (spec_.lm_head_bias) weights.push_back({head + ".bias", {spec_.vocab_size}});
  }

  std::vector<WeightShape> weights;
  std::vector<LinearModule> modules;

 private:
  void norm(const std::string& name) {
    if (spec_.norm == NormKind::kLayerNoScale) return;
    weights.push_back({name + ".weight", {spec_.hidden_size}});
    if (spec_.norm == NormKind::kLayer) weights.push_back({name + ".bias", {spec_.hidden_size}});
  }

  void layer_norm(std::string_view name) {
    if (!name.empty()) norm(prefix_ + std::string(name));
  }

  void linear(std::string_view name, int64_t in, int64_t out, bool bias) {
    const std::string path = prefix_ + std::string(name);
    modules.push_back({path, in, out});
    weights.push_back({path + ".weight", names_.transposed ? std::vector{in, out} : std::vector{out, in}});
    if (bias) weights.push_back({path + ".bias", {out}});
  }

  void add_layer(int64_t layer) {
    prefix_ = std::string(names_.layer) + std::to_string(layer) + ".";
    layer_norm(names_.attention_norm);
    attention();
    layer_norm(names_.attention_post_norm);
    if (spec_.block != BlockKind::kParallel) layer_norm(names_.mlp_norm);
    if (spec_.is_moe_layer(layer)) {
      experts();
    } else {
      mlp(spec_.intermediate_size);
    }
    layer_norm(names_.mlp_post_norm);
  }

  void attention() {
    const int64_t hidden = spec_.hidden_size;
    const int64_t query = spec_.num_heads * spec_.head_dim;
    const int64_t key = spec_.num_kv_heads * spec_.head_dim;
    if (names_.qkv_layout == QkvLayout::kSeparate) {
      linear(names_.q, hidden, query, spec_.qkv_bias);
      linear(names_.k, hidden, key, spec_.qkv_bias);
      linear(names_.v, hidden, key, spec_.qkv_bias);
    } else {
      linear(names_.qkv, hidden, query + 2 * key, spec_.qkv_bias);
    }
    qk_norm(names_.q_norm, spec_.num_heads);
    qk_norm(names_.k_norm, spec_.num_kv_heads);
    linear(names_.o, query, hidden, spec_.output_bias);
  }

  void qk_norm(std::string_view name, int64_t heads) {
    const std::string weight = prefix_ + std::string(name) + ".weight";
    if (spec_.qk_norm == QkNorm::kHead) weights.push_back({weight, {spec_.head_dim}});
    if (spec_.qk_norm == QkNorm::kEachHead) weights.push_back({weight, {heads, spec_.head_dim}});
    if (spec_.qk_norm == QkNorm::kWhole) weights.push_back({weight, {heads * spec_.head_dim}});
  }

  void mlp(int64_t width) {
    const int64_t hidden = spec_.hidden_size;
    if (!names_.gate_up.empty()) {
      linear(names_.gate_up, hidden, 2 * width, spec_.mlp_bias);
    } else {
      if (spec_.gated_mlp) linear(names_.gate, hidden, width, spec_.mlp_bias);
      linear(names_.up, hidden, width, spec_.mlp_bias);
    }
    linear(names_.down, width, hidden, spec_.mlp_bias);
  }

  void expert(const std::string& name, int64_t width) {
    linear(name + std::string(names_.expert_gate), spec_.hidden_size, width, false);
    linear(name + std::string(names_.expert_up), spec_.hidden_size, width, false);
    linear(name + std::string(names_.expert_down), width, spec_.hidden_size, false);
  }

  void experts() {
    linear(names_.router, spec_.hidden_size, spec_.moe.experts, false);
    for (int64_t i = 0; i < spec_.moe.experts; ++i) {
      expert(std::string(names_.experts) + std::to_string(i) + ".", spec_.moe.intermediate_size);
    }
    if (spec_.moe.shared_intermediate_size == 0) return;
    expert(std::string(names_.shared_expert), spec_.moe.shared_intermediate_size);
    linear(names_.shared_expert_gate, spec_.hidden_size, 1, false);
  }

  const ModelSpec& spec_;
  const WeightNames& names_;
  std::string prefix_;
};

}  // namespace

bool ModelSpec::is_moe_layer(int64_t layer) const {
  return moe.experts > 0 &&
         std::find(moe.dense_layers.begin(), moe.dense_layers.end(), layer) == moe.dense_layers.end();
}

std::vector<WeightShape> weight_shapes(const ModelSpec& spec) { return Layout(spec).weights; }

std::vector<LinearModule> linear_modules(const ModelSpec& spec) { return Layout(spec).modules; }

std::string layer_prefix(const ModelSpec& spec) { return std::string(weight_names(spec.weights)->layer); }

int64_t ModelSpec::parameter_count() const {
  int64_t count = 0;
  for (const WeightShape& weight : weight_shapes(*this)) count += product(weight.shape);
  return count;
}

}  // namespace graft::formats
