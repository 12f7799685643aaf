#include "formats/gguf_families.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "formats/dequantise.h"
#include "formats/hf_config.h"

namespace graft::formats {
namespace {

using nlohmann::json;

enum class Type { kInteger, kNumber, kBoolean };

// A metadata key behind "ARCHITECTURE." and the key of config.json that it stands for.
struct KeyPair {
  std::string_view gguf;
  std::string_view hf;
  Type type = Type::kInteger;
  bool required = true;
};
using KeyPairs = std::vector<KeyPair>;

struct GgufFamily {
  std::string_view gguf;
  std::string_view hf;
  KeyPairs keys;
  bool experts = false;                         // the row for files that have some
  bool windows = false;                         // attention.sliding_window means what it says
  bool partial = false;                         // part of a head may turn
  json constants = json::object();              // of config.json: what every model of the family has
  void (*finish)(json& config) = [](json&) {};  // what follows from the rest
};

const KeyPair kRmsEps = {"attention.layer_norm_rms_epsilon", "rms_norm_eps", Type::kNumber};
const KeyPair kLayerEps = {"attention.layer_norm_epsilon", "layer_norm_eps", Type::kNumber};
const KeyPair kExpertWidth = {"expert_feed_forward_length", "moe_intermediate_size"};
const KeyPair kExperts = {"expert_count", "num_experts"};
const KeyPair kTopK = {"expert_used_count", "num_experts_per_tok"};

// The file does not say how scores are scaled. All models but the largest take the width of a head; that one takes what
// a head would have if heads shared the hidden size.
void scale_scores(json& config, int64_t layers_of_largest) {
  const bool largest = config["num_hidden_layers"] == layers_of_largest;
  const auto shared = config["hidden_size"].get<int64_t>() / config["num_attention_heads"].get<int64_t>();
  config["query_pre_attn_scalar"] = largest ? shared : config["head_dim"].get<int64_t>();
}

const std::vector<GgufFamily>& families() {
  static const std::vector<GgufFamily> rows = {
      {.gguf = "llama",
       .hf = "MixtralForCausalLM",
       .keys = {kRmsEps, {"expert_count", "num_local_experts"}, kTopK},
       .experts = true},
      {.gguf = "qwen2", .hf = "Qwen2ForCausalLM", .keys = {kRmsEps}},
      {.gguf = "qwen3", .hf = "Qwen3ForCausalLM", .keys = {kRmsEps}},
      {.gguf = "qwen2moe",
       .hf = "Qwen2MoeForCausalLM",
       .keys = {kRmsEps,
                kExperts,
                kTopK,
                kExpertWidth,
                {"expert_shared_feed_forward_length", "shared_expert_intermediate_size"}},
       .experts = true,
       .constants = {{"norm_topk_prob", false}}},
      {.gguf = "qwen3moe",
       .hf = "Qwen3MoeForCausalLM",
       .keys = {kRmsEps, kExperts, kTopK, kExpertWidth},
       .experts = true,
       .constants = {{"norm_topk_prob", true}}},
      {.gguf = "gemma", .hf = "GemmaForCausalLM", .keys = {kRmsEps}},
      {.gguf = "gemma2",
       .hf = "Gemma2ForCausalLM",
       .keys = {kRmsEps,
                {"attn_logit_softcapping", "attn_logit_softcapping", Type::kNumber},
                {"final_logit_softcapping", "final_logit_softcapping", Type::kNumber}},
       .windows = true,
       .finish = [](json& config) { scale_scores(config, 46); }},
      {.gguf = "gemma3",
       .hf = "Gemma3ForCausalLM",
       .keys = {kRmsEps, {"final_logit_softcapping", "final_logit_softcapping", Type::kNumber, false}},
       .windows = true,
       .finish = [](json& config) { scale_scores(config, 62); }},
      {.gguf = "phi2", .hf = "PhiForCausalLM", .keys = {kLayerEps}, .partial = true},
      {.gguf = "phi3", .hf = "Phi3ForCausalLM", .keys = {kRmsEps}, .windows = true, .partial = true},
      {.gguf = "granite",
       .hf = "GraniteForCausalLM",
       .keys = {kRmsEps,
                {"embedding_scale", "embedding_multiplier", Type::kNumber},
                {"residual_scale", "residual_multiplier", Type::kNumber},
                {"attention.scale", "attention_multiplier", Type::kNumber},
                {"logit_scale", "logits_scaling", Type::kNumber}}},
      {.gguf = "smollm3", .hf = "SmolLM3ForCausalLM", .keys = {kRmsEps}},
      {.gguf = "olmo2", .hf = "Olmo2ForCausalLM", .keys = {kRmsEps}},
      {.gguf = "starcoder2",
       .hf = "Starcoder2ForCausalLM",
       .keys = {{"attention.layer_norm_epsilon", "norm_epsilon", Type::kNumber}}},
      {.gguf = "stablelm",
       .hf = "StableLmForCausalLM",
       .keys = {kLayerEps, {"use_parallel_residual", "use_parallel_residual", Type::kBoolean}},
       .partial = true},
  };
  return rows;
}

const GgufFamily* find_family(std::string_view architecture, bool has_experts) {
  const auto found = std::find_if(families().begin(), families().end(), [&](const GgufFamily& row) {
    return row.gguf == architecture && row.experts == has_experts;
  });
  return found != families().end() ? &*found : nullptr;
}

// A number, or an array that holds the same number for every layer.
Result<int64_t> uniform_integer(const GgufMetadata& metadata, const std::string& key) {
  const GgufValue* value = metadata.find(key);
  if (value == nullptr || !std::holds_alternative<GgufValue::Array>(value->value)) return metadata.integer(key);
  GRAFT_TRY(const std::vector<int64_t> numbers, metadata.integers(key));
  if (numbers.empty()) return invalid("metadata key '" + key + "' is empty");
  if (std::any_of(numbers.begin(), numbers.end(), [&](int64_t number) { return number != numbers.front(); })) {
    return unsupported("metadata key '" + key + "' differs between layers");
  }
  return numbers.front();
}

class ConfigReader {
 public:
  ConfigReader(const GgufFile& file, const GgufFamily& family)
      : file_(file), metadata_(file.metadata()), family_(family), prefix_(std::string(family.gguf) + ".") {}

  Result<json> read() {
    config_ = family_.constants;
    config_["architectures"] = {family_.hf};
    GRAFT_CHECK_OK(add({"block_count", "num_hidden_layers"}));
    GRAFT_CHECK_OK(add({"embedding_length", "hidden_size"}));
    GRAFT_CHECK_OK(add({"feed_forward_length", "intermediate_size"}));
    GRAFT_CHECK_OK(add({"context_length", "max_position_embeddings"}));
    GRAFT_CHECK_OK(add_heads());
    for (const KeyPair& pair : family_.keys) GRAFT_CHECK_OK(add(pair));
    GRAFT_CHECK_OK(add_vocabulary());
    GRAFT_CHECK_OK(add_turning());
    GRAFT_CHECK_OK(add_rope());
    GRAFT_CHECK_OK(add_window());
    if (file_.find("blk.0.attn_q.bias") != nullptr) config_["use_qkv_bias"] = true;
    family_.finish(config_);
    return config_;
  }

 private:
  [[nodiscard]] std::string key(std::string_view name) const { return prefix_ + std::string(name); }

  Status add(const KeyPair& pair) {
    const std::string name = key(pair.gguf);
    if (!pair.required && !metadata_.has(name)) return {};
    const std::string hf(pair.hf);
    if (pair.type == Type::kInteger) {
      GRAFT_TRY(config_[hf], uniform_integer(metadata_, name));
    } else if (pair.type == Type::kNumber) {
      GRAFT_TRY(const double number, metadata_.number(name));
      config_[hf] = shortest_decimal(number);
    } else {
      GRAFT_TRY(config_[hf], metadata_.boolean_or(name, false));
    }
    return {};
  }

  Status add_heads() {
    GRAFT_TRY(const int64_t heads, uniform_integer(metadata_, key("attention.head_count")));
    if (heads < 1) return invalid("metadata key '" + key("attention.head_count") + "' must be at least 1");
    config_["num_attention_heads"] = heads;
    config_["num_key_value_heads"] = heads;
    GRAFT_CHECK_OK(add({"attention.head_count_kv", "num_key_value_heads", Type::kInteger, false}));
    config_["head_dim"] = config_["hidden_size"].get<int64_t>() / heads;
    GRAFT_CHECK_OK(add({"attention.key_length", "head_dim", Type::kInteger, false}));
    GRAFT_TRY(const int64_t value_dim, metadata_.integer_or(key("attention.value_length"), config_["head_dim"]));
    if (config_["head_dim"] != value_dim) return unsupported("values of another width than keys are not supported");
    return {};
  }

  Status add_vocabulary() {
    const TensorView* embeddings = file_.find("token_embd.weight");
    if (embeddings == nullptr || embeddings->shape.size() != 2)
      return invalid("tensor 'token_embd.weight' is missing or no matrix");
    config_["vocab_size"] = embeddings->shape[0];
    config_["tie_word_embeddings"] = file_.find("output.weight") == nullptr;
    return {};
  }

  // What turns of a head is a number of elements here, and a share of them in config.json.
  Status add_turning() {
    const std::string name = key("rope.dimension_count");
    const auto head_dim = config_["head_dim"].get<int64_t>();
    GRAFT_TRY(const int64_t turning, metadata_.integer_or(name, head_dim));
    if (turning < 1 || turning > head_dim) return invalid("metadata key '" + name + "' is not within a head");
    if (!family_.partial && turning != head_dim) {
      return unsupported("metadata key '" + name + "': rotary positions on a part of each head are not supported");
    }
    const double share = static_cast<double>(turning) / static_cast<double>(head_dim);
    // The share is multiplied again and rounded down.
    if (family_.partial) config_["partial_rotary_factor"] = turning == head_dim ? 1.0 : std::nextafter(share, 1.0);
    return {};
  }

  Status add_rope() {
    if (file_.find("rope_freqs.weight") != nullptr)
      return unsupported("tensor 'rope_freqs.weight' is supported for Llama only");
    if (metadata_.has(key("rope.freq_base"))) GRAFT_CHECK_OK(add({"rope.freq_base", "rope_theta", Type::kNumber}));
    if (file_.find("rope_factors_long.weight") != nullptr) return add_longrope();
    GRAFT_TRY(const std::string type, metadata_.text_or(key("rope.scaling.type"), "none"));
    if (type == "none") return {};
    if (type != "linear" && type != "yarn") {
      return unsupported("metadata key '" + key("rope.scaling.type") + "': '" + printable(type) +
                         "' is not supported; supported: none, linear, yarn");
    }
    GRAFT_TRY(const double factor, metadata_.number(key("rope.scaling.factor")));
    config_["rope_scaling"] = {{"rope_type", type}, {"factor", shortest_decimal(factor)}};
    if (type == "yarn") {
      GRAFT_TRY(config_["rope_scaling"]["original_max_position_embeddings"],
                metadata_.integer(key("rope.scaling.original_context_length")));
    }
    return {};
  }

  Status add_longrope() {
    json scaling = {{"rope_type", "longrope"}};
    for (const auto& [tensor, name] : {std::pair("rope_factors_short.weight", "short_factor"),
                                       std::pair("rope_factors_long.weight", "long_factor")}) {
      const TensorView* view = file_.find(tensor);
      if (view == nullptr) return invalid(std::string("tensor '") + tensor + "' is missing");
      std::vector<float> factors(static_cast<size_t>(view->elements()));
      GRAFT_CHECK_OK(to_float32(*view, factors));
      if (find_non_finite(factors) >= 0) return invalid(std::string("tensor '") + tensor + "' is not finite");
      for (const float factor : factors) scaling[name].push_back(shortest_decimal(factor));
    }
    config_["rope_scaling"] = std::move(scaling);
    return add({"rope.scaling.original_context_length", "original_max_position_embeddings"});
  }

  // Of other families the converter writes none, or none that llama.cpp heeds.
  Status add_window() {
    config_["sliding_window"] = nullptr;
    const std::string name = key("attention.sliding_window");
    GRAFT_TRY(const int64_t window, metadata_.integer_or(name, 0));
    if (window == 0) return {};
    if (!family_.windows) return unsupported("metadata key '" + name + "' is not supported for this architecture");
    config_["sliding_window"] = window;
    return {};
  }

  const GgufFile& file_;
  const GgufMetadata& metadata_;
  const GgufFamily& family_;
  std::string prefix_;
  json config_;
};

// Given only where it is not what the paper says for the two contexts.
Status set_attention_factor(const GgufFile& file, const std::string& architecture, ModelSpec& spec) {
  const std::string key = architecture + ".rope.scaling.attn_factor";
  if (spec.rope.kind != RopeKind::kLongRope || !file.metadata().has(key)) return {};
  GRAFT_TRY(const double given, file.metadata().number(key));
  const double context = std::log(static_cast<double>(spec.rope.original_max_position));
  const double expected = spec.rope.factor > 1 ? std::sqrt(1 + std::log(spec.rope.factor) / context) : 1;
  if (std::abs(given - expected) > 1e-4) spec.rope.attention_factor = shortest_decimal(given);
  return {};
}

}  // namespace

double shortest_decimal(double value) {
  if (!(std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max()))) return value;
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), static_cast<float>(value)).ptr;
  std::from_chars(digits.data(), end, value);
  return value;
}

std::string_view hf_architecture_of_gguf(std::string_view architecture, bool has_experts) {
  const GgufFamily* family = find_family(architecture, has_experts);
  return family != nullptr ? family->hf : std::string_view();
}

std::vector<std::string> gguf_family_names() {
  std::vector<std::string> names;
  for (const GgufFamily& family : families()) names.emplace_back(family.gguf);
  std::sort(names.begin(), names.end());
  return names;
}

Result<ModelSpec> spec_of_gguf_family(const GgufFile& file, const std::string& architecture) {
  GRAFT_TRY(const int64_t experts, file.metadata().integer_or(architecture + ".expert_count", 0));
  const GgufFamily* family = find_family(architecture, experts > 0);
  if (family == nullptr) {
    return unsupported("architecture '" + printable(architecture) + "'" + (experts > 0 ? " with experts" : "") +
                       " is not supported in GGUF files; supported: " + join(gguf_family_names(), ", "));
  }
  GRAFT_TRY(const json config, ConfigReader(file, *family).read());
  GRAFT_TRY(ModelSpec spec, spec_from_hf_config(config, {}));
  GRAFT_CHECK_OK(set_attention_factor(file, architecture, spec));
  return spec;
}

}  // namespace graft::formats
