#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "formats/model_exports.h"

namespace graft::formats {
namespace {

using nlohmann::ordered_json;

ordered_json rope_scaling_json(const RopeSpec& rope) {
  switch (rope.kind) {
    case RopeKind::kDefault:
      return nullptr;
    case RopeKind::kLinear:
      return {{"rope_type", "linear"}, {"factor", rope.factor}};
    case RopeKind::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", rope.original_max_position}};
    default:  // GGUF files of this shape say no other
      return nullptr;
  }
}

// One id, or a list of several.
void add_token_ids(const ModelSpec& spec, ordered_json& object) {
  if (spec.bos_token_id) object["bos_token_id"] = *spec.bos_token_id;
  if (spec.eos_token_ids.size() == 1) object["eos_token_id"] = spec.eos_token_ids.front();
  if (spec.eos_token_ids.size() > 1) object["eos_token_id"] = spec.eos_token_ids;
  if (spec.pad_token_id) object["pad_token_id"] = *spec.pad_token_id;
}

const char* torch_dtype_name(ExportType type) {
  if (type == ExportType::kF32) return "float32";
  return type == ExportType::kF16 ? "float16" : "bfloat16";
}

ordered_json config_json(const ModelSpec& spec, ExportType type) {
  ordered_json config = {{"architectures", {spec.architecture}},
                         {"model_type", spec.model_type},
                         {"vocab_size", spec.vocab_size},
                         {"hidden_size", spec.hidden_size},
                         {"intermediate_size", spec.intermediate_size},
                         {"num_hidden_layers", spec.num_layers},
                         {"num_attention_heads", spec.num_heads},
                         {"num_key_value_heads", spec.num_kv_heads},
                         {"head_dim", spec.head_dim},
                         {"max_position_embeddings", spec.max_position},
                         {"rms_norm_eps", spec.norm_eps},
                         {"rope_theta", spec.rope.theta},
                         {"rope_scaling", rope_scaling_json(spec.rope)},
                         {"hidden_act", "silu"},
                         {"attention_bias", spec.qkv_bias},
                         {"mlp_bias", spec.mlp_bias},
                         {"tie_word_embeddings", spec.tie_word_embeddings},
                         {"torch_dtype", torch_dtype_name(type)}};
  add_token_ids(spec, config);
  return config;
}

ordered_json tokenizer_config_json(const ModelSource& source) {
  ordered_json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                         {"model_max_length", source.spec().max_position},
                         {"clean_up_tokenization_spaces", source.clean_up_spaces()},
                         {"model_input_names", {"input_ids", "attention_mask"}}};
  for (const auto& [name, token] : source.special_tokens()) config[name] = token;
  return config;
}

}  // namespace

std::string generation_config_json(const ModelSpec& spec) {
  ordered_json generation = ordered_json::object();
  add_token_ids(spec, generation);
  return generation.dump(2) + "\n";
}

Result<std::vector<TextFile>> make_hf_text_files(const ModelSource& source, ExportType type) {
  const ModelSpec& spec = source.spec();
  if (spec.model_type != "llama") {
    return unsupported("a config.json for models of type '" + printable(spec.model_type) +
                       "' cannot be made from a GGUF file; supported: llama");
  }
  if (spec.qkv_bias != spec.output_bias) {
    return unsupported("a config.json for a Llama with biases on some of its attention's projections cannot be made");
  }
  std::vector<TextFile> files = {{"config.json", config_json(spec, type).dump(2) + "\n"},
                                 {"generation_config.json", generation_config_json(spec)},
                                 {"tokenizer.json", source.tokenizer_json()},
                                 {"tokenizer_config.json", tokenizer_config_json(source).dump(2) + "\n"}};
  if (!source.chat_template().empty()) files.push_back({"chat_template.jinja", source.chat_template()});
  return files;
}

}  // namespace graft::formats
