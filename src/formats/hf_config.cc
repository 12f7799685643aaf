#include "formats/hf_config.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "formats/hf_families.h"
#include "formats/hf_rope.h"
#include "formats/json_fields.h"
#include "formats/model_layout.h"

namespace graft::formats {
namespace {

using nlohmann::json;

// Read for every family.
constexpr std::array<std::string_view, 24> kUsedKeys = {"architectures",
                                                        "model_type",
                                                        "vocab_size",
                                                        "head_dim",
                                                        "rope_theta",
                                                        "rope_scaling",
                                                        "rope_parameters",
                                                        "original_max_position_embeddings",
                                                        "tie_word_embeddings",
                                                        "attention_bias",
                                                        "mlp_bias",
                                                        "use_bias",
                                                        "bias",
                                                        "use_qkv_bias",
                                                        "bos_token_id",
                                                        "eos_token_id",
                                                        "pad_token_id",
                                                        "sliding_window",
                                                        "layer_types",
                                                        "quantization_config",
                                                        "partial_rotary_factor",
                                                        "is_encoder_decoder",
                                                        "hidden_act",
                                                        "rope_interleaved"};

// Known, and without effect on what an inference or a fine-tuning here computes.
constexpr std::string_view kIgnoredKeys[] = {"torch_dtype",
                                             "dtype",
                                             "transformers_version",
                                             "use_cache",
                                             "initializer_range",
                                             "pretraining_tp",
                                             "_name_or_path",
                                             "attention_dropout",
                                             "is_llama_config",
                                             "transformers.js_config",
                                             "auto_map",
                                             "_attn_implementation_autoset",
                                             "unsloth_version",
                                             "unsloth_fixed",
                                             "torchscript",
                                             "id2label",
                                             "label2id",
                                             "num_labels",
                                             "return_dict",
                                             "output_attentions",
                                             "output_hidden_states",
                                             "use_bfloat16",
                                             "problem_type",
                                             "task_specific_params",
                                             "is_decoder",
                                             "attn_pdrop",
                                             "embd_pdrop",
                                             "resid_pdrop",
                                             "hidden_dropout",
                                             "attention_probs_dropout_prob",
                                             "classifier_dropout",
                                             "embedding_dropout",
                                             "residual_dropout",
                                             "router_aux_loss_coef",
                                             "router_jitter_noise",
                                             "output_router_logits",
                                             "n_ctx",
                                             "summary_type",
                                             "summary_use_proj",
                                             "summary_activation",
                                             "summary_first_dropout",
                                             "summary_proj_to_labels",
                                             "reorder_and_upcast_attn",
                                             "gradient_checkpointing",
                                             "cache_implementation",
                                             "emb_pdrop",
                                             "init_device",
                                             "learned_pos_emb",
                                             "verbose",
                                             "hidden_dropout_prob",
                                             "slow_but_exact",
                                             "seq_length",
                                             "offset_alibi",
                                             "skip_bias_add",
                                             "skip_bias_add_qkv",
                                             "unk_token_id",
                                             "n_embed",
                                             "attention_softmax_in_fp32",
                                             "bias_dropout_fusion",
                                             "masked_softmax_fusion",
                                             "embedding_fraction",
                                             "norm_type",
                                             "apply_query_key_layer_scaling"};

struct Activations {
  std::string_view name;
  Activation activation;
};
constexpr Activations kActivations[] = {
    {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},          {"gelu_new", Activation::kGeluTanh},
    {"gelu_fast", Activation::kGeluTanh}, {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"relu", Activation::kRelu}};

const Family* find_family(std::string_view Family::* field, const std::string& name) {
  for (const Family& family : hf_families()) {
    if (family.*field == name) return &family;
  }
  return nullptr;
}

bool is_word_of(std::string_view words, std::string_view word) {
  for (size_t at = words.find(word); at != std::string_view::npos; at = words.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' ')) return true;
  }
  return false;
}

bool is_known_key(const Family& family, const std::string& key) {
  const SizeKeys& sizes = family.keys;
  for (const std::string_view known :
       {sizes.hidden, sizes.intermediate, sizes.layers, sizes.heads, sizes.kv_heads, sizes.context, family.eps_key,
        family.theta_key, family.partial_key, family.activation_key}) {
    if (known == key) return true;
  }
  const auto listed = [&](const auto& keys) {
    return std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
  };
  return is_word_of(family.more_keys, key) || listed(kUsedKeys) || listed(kIgnoredKeys);
}

std::vector<std::string> unknown_keys(const Family& family, const json& config) {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : config.items()) {
    if (!is_known_key(family, key)) unknown.push_back(printable(key, 60));
  }
  return unknown;
}

// An architecture that nobody here knows may be a Llama under another name. Its keys say so: all that Llama needs are
// there, and none besides. The names and shapes of its weights are checked as strictly as any.
Result<Family> guess_family(const json& config, const std::string& architecture) {
  const Family& llama = *find_family(&Family::architecture, "LlamaForCausalLM");
  const JsonFields fields(config);
  std::vector<std::string> missing;
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "max_position_embeddings", "rms_norm_eps"}) {
    if (!fields.has(key)) missing.emplace_back(key);
  }
  std::vector<std::string> unknown = unknown_keys(llama, config);
  // Keys of other families, which Llama's row does not read.
  for (const char* key : {"use_bias", "bias", "use_qkv_bias"}) {
    if (fields.has(key)) unknown.emplace_back(key);
  }
  if (!missing.empty() || !unknown.empty()) {
    std::vector<std::string> known;
    for (const Family& family : hf_families()) known.emplace_back(family.architecture);
    std::string why;
    if (!missing.empty()) why += "; it is no Llama under another name: missing keys: " + join(missing, ", ");
    if (!unknown.empty()) why += "; keys without a meaning here: " + printable(join(unknown, ", "), 300);
    return unsupported("architecture '" + printable(architecture) +
                       "' is not supported; supported: " + join(known, ", ") + why);
  }
  log_warn(
      "config.json: architecture '{}' is not known here; its keys are Llama's, so it is read as one (RMS norms before "
      "attention and MLP, gated MLP, full attention, rotary positions)",
      printable(architecture));
  return llama;
}

Result<Family> family_of(const json& config) {
  const JsonFields fields(config);
  GRAFT_TRY(const std::vector<std::string> architectures, fields.texts("architectures"));
  for (const std::string& architecture : architectures) {
    if (const Family* family = find_family(&Family::architecture, architecture)) return *family;
  }
  if (!architectures.empty()) return guess_family(config, architectures.front());
  GRAFT_TRY(const std::string model_type, fields.text_or("model_type", ""));
  const Family* family = find_family(&Family::model_type, model_type);
  if (family == nullptr) return invalid("key 'architectures' is missing");
  log_warn("config.json: key 'architectures' is missing; model_type '{}' is taken for {}", model_type,
           family->architecture);
  return *family;
}

Result<Activation> read_activation(const JsonFields& fields, const Family& family) {
  std::string name(family.default_activation);
  if (!family.activation_key.empty()) {
    GRAFT_TRY(name, fields.text_or(std::string(family.activation_key), name));
  }
  std::vector<std::string> known;
  for (const Activations& row : kActivations) {
    if (row.name == name) return row.activation;
    known.emplace_back(row.name);
  }
  return unsupported(std::string(family.activation_key) + " '" + printable(name) +
                     "' is not supported; supported: " + join(known, ", "));
}

// Settings that change results and that nothing here has an answer to.
Status refuse_unhonoured(const JsonFields& fields, const Family& family) {
  for (const char* key : {"rope_interleaved", "is_encoder_decoder"}) {
    GRAFT_TRY(const bool value, fields.boolean_or(key, false));
    if (value) return unsupported(std::string(key) + " true is not supported");
  }
  if (family.partial_key.empty()) {
    GRAFT_TRY(const double rotary, fields.number_or("partial_rotary_factor", 1.0));
    if (rotary != 1.0)
      return unsupported("partial_rotary_factor other than 1 is not supported for " + std::string(family.architecture));
  }
  if (fields.has("quantization_config")) {
    return unsupported(
        "quantization_config: checkpoints quantised by other tools are not supported; use the original weights");
  }
  return {};
}

Result<AttentionKind> attention_kind(const json& entry) {
  if (entry == "full_attention") return AttentionKind::kFull;
  if (entry == "sliding_attention") return AttentionKind::kSliding;
  return unsupported("key 'layer_types': " + printable(entry.dump(), 60) +
                     " is not supported; supported: full_attention, sliding_attention");
}

// Which layers see a window only: layer_types where it is there, else what the family does.
Status read_windows(const JsonFields& fields, const Family& family, ModelSpec& spec) {
  const json* window = fields.raw("sliding_window");
  if (window == nullptr) {
    spec.sliding_window = family.default_window;
  } else if (!window->is_null()) {
    GRAFT_TRY(spec.sliding_window, fields.integer("sliding_window"));
  }
  if (spec.sliding_window < 0) return invalid("key 'sliding_window' must not be negative");
  const auto layers = static_cast<size_t>(std::clamp<int64_t>(spec.num_layers, 0, 4096));
  if (const json* types = fields.find("layer_types")) {
    if (!types->is_array() || types->size() != layers)
      return invalid("key 'layer_types' must be a list with an entry per layer");
    for (const json& entry : *types) {
      GRAFT_TRY(const AttentionKind kind, attention_kind(entry));
      spec.attention.push_back(kind);
    }
  } else if (family.full_attention_every > 0) {
    GRAFT_TRY(const int64_t older, fields.integer_or("_sliding_window_pattern", family.full_attention_every));
    GRAFT_TRY(const int64_t every, fields.integer_or("sliding_window_pattern", older));
    if (every < 1) return invalid("key 'sliding_window_pattern' must be at least 1");
    for (size_t i = 1; i <= layers; ++i) {
      spec.attention.push_back(static_cast<int64_t>(i) % every == 0 ? AttentionKind::kFull : AttentionKind::kSliding);
    }
  } else if (spec.sliding_window > 0 && spec.sliding_window < spec.max_position) {
    spec.attention.assign(layers, AttentionKind::kSliding);
  }
  return {};
}

// Windows that no layer has are not worth mentioning.
void tidy_windows(ModelSpec& spec) {
  const auto has = [&](AttentionKind kind) {
    return std::find(spec.attention.begin(), spec.attention.end(), kind) != spec.attention.end();
  };
  if (!has(AttentionKind::kSliding)) spec.sliding_window = 0;
  if (!has(AttentionKind::kSliding) && !has(AttentionKind::kNoPosition)) spec.attention.clear();
}

Result<int32_t> token_id(const json& value, const std::string& key) {
  if (value.is_number_integer() && value.get<int64_t>() >= INT32_MIN && value.get<int64_t>() <= INT32_MAX)
    return value.get<int32_t>();
  return invalid("key '" + key + "' must be a token id");
}

// Absent, null and -1 all mean "there is none"; so does an empty list.
Result<std::vector<int32_t>> token_ids(const JsonFields& fields, const std::string& key) {
  std::vector<int32_t> ids;
  const json* value = fields.find(key);
  if (value == nullptr) return ids;
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& entry : list) {
    GRAFT_TRY(const int32_t id, token_id(entry, key));
    if (id != -1 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

Result<std::optional<int32_t>> single_token(const JsonFields& fields, const std::string& key) {
  GRAFT_TRY(const std::vector<int32_t> ids, token_ids(fields, key));
  if (ids.empty()) return std::optional<int32_t>();
  return std::optional(ids.front());
}

Status read_tokens(const JsonFields& fields, const json& generation, ModelSpec& spec) {
  GRAFT_TRY(spec.bos_token_id, single_token(fields, "bos_token_id"));
  GRAFT_TRY(spec.pad_token_id, single_token(fields, "pad_token_id"));
  GRAFT_TRY(spec.eos_token_ids, token_ids(fields, "eos_token_id"));
  if (generation.is_null()) return {};
  auto preferred = token_ids(JsonFields(generation), "eos_token_id");
  if (!preferred.ok()) return at("generation_config.json", preferred.error());
  if (!preferred->empty()) spec.eos_token_ids = std::move(preferred).value();
  return {};
}

Result<int64_t> size_or(const JsonFields& fields, std::string_view key, int64_t fallback) {
  return key.empty() ? Result<int64_t>(fallback) : fields.integer_or(std::string(key), fallback);
}

Status read_heads(const JsonFields& fields, const Family& family, ModelSpec& spec) {
  const std::string heads(family.keys.heads);
  GRAFT_TRY(spec.num_heads, fields.integer(heads));
  if (spec.num_heads < 1) return invalid("key '" + heads + "' must be at least 1");
  const int64_t kv_heads = family.default_kv_heads > 0 ? family.default_kv_heads : spec.num_heads;
  const json* given = fields.raw(std::string(family.keys.kv_heads));
  // null means as many as heads, in every family.
  GRAFT_TRY(spec.num_kv_heads, size_or(fields, family.keys.kv_heads, given != nullptr ? spec.num_heads : kv_heads));
  const bool divides = spec.hidden_size % spec.num_heads == 0;
  if (!fields.has("head_dim") && family.default_head_dim == 0 && !divides) {
    return invalid("key 'head_dim' is missing, and " + std::string(family.keys.hidden) + " is not a multiple of " +
                   heads);
  }
  const int64_t head_dim = family.default_head_dim > 0 ? family.default_head_dim : spec.hidden_size / spec.num_heads;
  GRAFT_TRY(spec.head_dim, fields.integer_or("head_dim", head_dim));
  return {};
}

Status read_sizes(const JsonFields& fields, const Family& family, ModelSpec& spec) {
  constexpr int64_t kWidest = int64_t{1} << 20;
  const SizeKeys& keys = family.keys;
  GRAFT_TRY(spec.vocab_size, fields.integer("vocab_size"));
  GRAFT_TRY(spec.hidden_size, fields.integer(std::string(keys.hidden)));
  if (spec.hidden_size < 1 || spec.hidden_size > kWidest) {
    return invalid("key '" + std::string(keys.hidden) + "' (hidden_size) is " + std::to_string(spec.hidden_size) +
                   "; it must be between 1 and " + std::to_string(kWidest));
  }
  if (keys.intermediate == SizeKeys{}.intermediate) {
    GRAFT_TRY(spec.intermediate_size, fields.integer(std::string(keys.intermediate)));
  } else {
    GRAFT_TRY(spec.intermediate_size, size_or(fields, keys.intermediate, 4 * spec.hidden_size));
  }
  GRAFT_TRY(spec.num_layers, fields.integer(std::string(keys.layers)));
  if (family.default_context > 0) {
    GRAFT_TRY(spec.max_position, size_or(fields, keys.context, family.default_context));
  } else {
    GRAFT_TRY(spec.max_position, fields.integer(std::string(keys.context)));
  }
  if (spec.num_layers < 1 || spec.num_layers > 4096) {
    return invalid("the number of layers is " + std::to_string(spec.num_layers) + "; it must be between 1 and 4096");
  }
  return read_heads(fields, family, spec);
}

Status read_biases(const JsonFields& fields, const Family& family, ModelSpec& spec) {
  const auto all = [&](bool bias) { spec.qkv_bias = spec.output_bias = spec.mlp_bias = bias; };
  switch (family.bias) {
    case BiasRule::kNone:
      return {};
    case BiasRule::kKeys:
    case BiasRule::kAttentionKey: {
      GRAFT_TRY(spec.qkv_bias, fields.boolean_or("attention_bias", false));
      spec.output_bias = spec.qkv_bias;
      if (family.bias == BiasRule::kKeys) {
        GRAFT_TRY(spec.mlp_bias, fields.boolean_or("mlp_bias", false));
      }
      return {};
    }
    case BiasRule::kQkv:
      spec.qkv_bias = true;
      return {};
    case BiasRule::kQkvKey: {
      GRAFT_TRY(spec.qkv_bias, fields.boolean_or("use_qkv_bias", false));
      return {};
    }
    case BiasRule::kAll:
      all(true);
      return {};
    case BiasRule::kUseBias: {
      GRAFT_TRY(const bool bias, fields.boolean_or("use_bias", true));
      all(bias);
      return {};
    }
    case BiasRule::kBias: {
      GRAFT_TRY(const bool bias, fields.boolean_or("bias", false));
      all(bias);
      return {};
    }
  }
  return {};
}

Result<ModelSpec> read_spec(const JsonFields& fields, const Family& family) {
  ModelSpec spec;
  spec.architecture = family.architecture;
  spec.model_type = family.model_type;
  spec.weights = family.weights;
  GRAFT_CHECK_OK(read_sizes(fields, family, spec));
  spec.norm = family.norm;
  spec.norm_eps = family.default_eps;
  if (!family.eps_key.empty()) {
    GRAFT_TRY(spec.norm_eps, fields.number_or(std::string(family.eps_key), family.default_eps));
  }
  spec.block = family.block;
  spec.qk_norm = family.qk_norm;
  spec.positions = family.positions;
  spec.gated_mlp = family.gated;
  GRAFT_TRY(spec.activation, read_activation(fields, family));
  GRAFT_TRY(spec.tie_word_embeddings, fields.boolean_or("tie_word_embeddings", family.tied));
  GRAFT_CHECK_OK(read_biases(fields, family, spec));
  if (family.positions == PositionKind::kRotary) {
    GRAFT_TRY(spec.rope, read_hf_rope(fields, family, spec));
  }
  GRAFT_CHECK_OK(read_windows(fields, family, spec));
  if (family.finish != nullptr) GRAFT_CHECK_OK(family.finish(fields, spec));
  tidy_windows(spec);
  return spec;
}

}  // namespace

Result<ModelSpec> spec_from_hf_config(const json& config, const json& generation) {
  if (!config.is_object()) return invalid("config.json must hold an object");
  if (!generation.is_null() && !generation.is_object()) return invalid("generation_config.json must hold an object");
  const JsonFields fields(config);
  GRAFT_TRY(const Family family, family_of(config));
  GRAFT_CHECK_OK(refuse_unhonoured(fields, family));
  GRAFT_TRY(ModelSpec spec, read_spec(fields, family));
  GRAFT_CHECK_OK(read_tokens(fields, generation, spec));
  GRAFT_CHECK_OK(check_spec(spec));
  for (const std::string& key : unknown_keys(family, config)) {
    log_warn("config.json: key '{}' is not known here and has no effect", key);
  }
  return spec;
}

Result<ModelSpec> read_hf_config(const std::filesystem::path& directory) {
  const auto path = directory / "config.json";
  GRAFT_TRY(const std::string text, read_file(path));
  auto config = parse_json(text);
  if (!config.ok()) return at(path.string(), config.error());
  json generation;
  const auto generation_path = directory / "generation_config.json";
  if (fs::exists(generation_path)) {
    GRAFT_TRY(const std::string generation_text, read_file(generation_path));
    auto parsed = parse_json(generation_text);
    if (!parsed.ok()) return at(generation_path.string(), parsed.error());
    generation = std::move(parsed).value();
  }
  auto spec = spec_from_hf_config(*config, generation);
  if (!spec.ok()) return at(path.string(), spec.error());
  return spec;
}

}  // namespace graft::formats
