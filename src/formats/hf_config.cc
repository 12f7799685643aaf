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
#include "formats/json_fields.h"
#include "formats/model_layout.h"

namespace graft::formats {
namespace {

using nlohmann::json;

// A family is what differs between architectures that share the decoder.
struct Family {
  std::string_view architecture;
  std::string_view model_type;
  double default_rms_norm_eps;  // where config.json has none: the value of transformers' configuration class
  bool has_biases;              // honours attention_bias and mlp_bias
};

constexpr std::array kFamilies = {
    Family{"LlamaForCausalLM", "llama", 1e-6, true},
    Family{"MistralForCausalLM", "mistral", 1e-6, false},
};

// Read below.
constexpr std::array<std::string_view, 24> kUsedKeys = {"architectures",
                                                        "model_type",
                                                        "vocab_size",
                                                        "hidden_size",
                                                        "intermediate_size",
                                                        "num_hidden_layers",
                                                        "num_attention_heads",
                                                        "num_key_value_heads",
                                                        "head_dim",
                                                        "max_position_embeddings",
                                                        "rms_norm_eps",
                                                        "rope_theta",
                                                        "rope_scaling",
                                                        "rope_parameters",
                                                        "tie_word_embeddings",
                                                        "attention_bias",
                                                        "mlp_bias",
                                                        "bos_token_id",
                                                        "eos_token_id",
                                                        "pad_token_id",
                                                        "hidden_act",
                                                        "sliding_window",
                                                        "quantization_config",
                                                        "partial_rotary_factor"};

// Known, and without effect on what an inference or a fine-tuning here computes.
constexpr std::array<std::string_view, 26> kIgnoredKeys = {"torch_dtype",
                                                           "dtype",
                                                           "transformers_version",
                                                           "use_cache",
                                                           "initializer_range",
                                                           "pretraining_tp",
                                                           "_name_or_path",
                                                           "attention_dropout",
                                                           "is_llama_config",
                                                           "rope_interleaved",
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
                                                           "is_decoder"};

Result<const Family*> family_of(const JsonFields& fields) {
  GRAFT_TRY(const std::vector<std::string> architectures, fields.texts("architectures"));
  std::vector<std::string> known;
  for (const Family& family : kFamilies) {
    known.emplace_back(family.architecture);
    if (std::find(architectures.begin(), architectures.end(), family.architecture) != architectures.end())
      return &family;
  }
  if (architectures.empty()) return invalid("key 'architectures' is missing");
  return unsupported("architecture '" + printable(architectures.front()) +
                     "' is not supported; supported: " + join(known, ", "));
}

// Settings that change results and that the decoder has one answer to.
Status refuse_unhonoured(const JsonFields& fields) {
  GRAFT_TRY(const std::string activation, fields.text_or("hidden_act", "silu"));
  if (activation != "silu")
    return unsupported("hidden_act '" + printable(activation) + "' is not supported; supported: silu");
  GRAFT_TRY(const bool interleaved, fields.boolean_or("rope_interleaved", false));
  if (interleaved) return unsupported("rope_interleaved true is not supported");
  GRAFT_TRY(const double rotary, fields.number_or("partial_rotary_factor", 1.0));
  if (rotary != 1.0) return unsupported("partial_rotary_factor other than 1 is not supported");
  if (fields.has("quantization_config")) {
    return unsupported(
        "quantization_config: checkpoints quantised by other tools are not supported; use the original weights");
  }
  return {};
}

Status refuse_sliding_window(const JsonFields& fields, const ModelSpec& spec) {
  GRAFT_TRY(const int64_t window, fields.integer_or("sliding_window", 0));
  if (window <= 0 || window >= spec.max_position) return {};
  return unsupported("sliding_window " + std::to_string(window) + " is not supported, only full attention");
}

Result<RopeSpec> rope_kind(const JsonFields& scaling, RopeSpec rope, int64_t max_position) {
  GRAFT_TRY(const std::string old_type, scaling.text_or("type", "default"));
  GRAFT_TRY(const std::string type, scaling.text_or("rope_type", old_type));
  GRAFT_TRY(rope.theta, scaling.number_or("rope_theta", rope.theta));
  if (type == "default") return rope;
  if (type != "linear" && type != "llama3") {
    return unsupported("rope type '" + printable(type) + "' is not supported; supported: default, linear, llama3");
  }
  GRAFT_TRY(rope.factor, scaling.number("factor"));
  if (type == "linear") {
    rope.kind = RopeKind::kLinear;
    return rope;
  }
  rope.kind = RopeKind::kLlama3;
  GRAFT_TRY(rope.low_freq_factor, scaling.number("low_freq_factor"));
  GRAFT_TRY(rope.high_freq_factor, scaling.number("high_freq_factor"));
  GRAFT_TRY(rope.original_max_position, scaling.integer_or("original_max_position_embeddings", max_position));
  return rope;
}

// transformers 5 writes rope_parameters (theta inside), older versions rope_theta and rope_scaling.
Result<RopeSpec> read_rope(const JsonFields& fields, int64_t max_position) {
  RopeSpec rope;
  GRAFT_TRY(rope.theta, fields.number_or("rope_theta", rope.theta));
  for (const std::string key : {"rope_parameters", "rope_scaling"}) {
    const json* scaling = fields.find(key);
    if (scaling == nullptr) continue;
    if (!scaling->is_object()) return invalid("key '" + key + "' must be an object");
    auto read = rope_kind(JsonFields(*scaling), rope, max_position);
    if (!read.ok()) return at("key '" + key + "'", read.error());
    return read;
  }
  return rope;
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

template <size_t N>
bool listed(const std::array<std::string_view, N>& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

void warn_of_unknown_keys(const json& config) {
  for (const auto& [key, value] : config.items()) {
    if (!listed(kUsedKeys, key) && !listed(kIgnoredKeys, key)) {
      log_warn("config.json: key '{}' is not known here and has no effect", printable(key));
    }
  }
}

Status read_sizes(const JsonFields& fields, const Family& family, ModelSpec& spec) {
  GRAFT_TRY(spec.vocab_size, fields.integer("vocab_size"));
  GRAFT_TRY(spec.hidden_size, fields.integer("hidden_size"));
  GRAFT_TRY(spec.intermediate_size, fields.integer("intermediate_size"));
  GRAFT_TRY(spec.num_layers, fields.integer("num_hidden_layers"));
  GRAFT_TRY(spec.num_heads, fields.integer("num_attention_heads"));
  GRAFT_TRY(spec.num_kv_heads, fields.integer_or("num_key_value_heads", spec.num_heads));
  GRAFT_TRY(spec.max_position, fields.integer("max_position_embeddings"));
  if (spec.num_heads < 1) return invalid("key 'num_attention_heads' must be at least 1");
  if (!fields.has("head_dim") && spec.hidden_size % spec.num_heads != 0) {
    return invalid("key 'head_dim' is missing, and hidden_size is not a multiple of num_attention_heads");
  }
  GRAFT_TRY(spec.head_dim, fields.integer_or("head_dim", spec.hidden_size / spec.num_heads));
  GRAFT_TRY(spec.rms_norm_eps, fields.number_or("rms_norm_eps", family.default_rms_norm_eps));
  GRAFT_TRY(spec.tie_word_embeddings, fields.boolean_or("tie_word_embeddings", false));
  if (family.has_biases) {
    GRAFT_TRY(spec.attention_bias, fields.boolean_or("attention_bias", false));
    GRAFT_TRY(spec.mlp_bias, fields.boolean_or("mlp_bias", false));
  }
  return {};
}

}  // namespace

Result<ModelSpec> spec_from_hf_config(const json& config, const json& generation) {
  if (!config.is_object()) return invalid("config.json must hold an object");
  if (!generation.is_null() && !generation.is_object()) return invalid("generation_config.json must hold an object");
  const JsonFields fields(config);
  GRAFT_TRY(const Family* family, family_of(fields));
  GRAFT_CHECK_OK(refuse_unhonoured(fields));
  ModelSpec spec;
  spec.architecture = family->architecture;
  spec.model_type = family->model_type;
  GRAFT_CHECK_OK(read_sizes(fields, *family, spec));
  GRAFT_CHECK_OK(refuse_sliding_window(fields, spec));
  GRAFT_TRY(spec.rope, read_rope(fields, spec.max_position));
  GRAFT_CHECK_OK(read_tokens(fields, generation, spec));
  GRAFT_CHECK_OK(check_spec(spec));
  warn_of_unknown_keys(config);
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
