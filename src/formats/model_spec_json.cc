#include "formats/model_spec_json.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "formats/json_fields.h"
#include "formats/model_layout.h"

namespace graft::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

struct RopeName {
  RopeKind kind;
  std::string_view name;
};
constexpr std::array kRopeNames = {RopeName{RopeKind::kDefault, "default"}, RopeName{RopeKind::kLinear, "linear"},
                                   RopeName{RopeKind::kLlama3, "llama3"}};

std::string_view rope_name(RopeKind kind) {
  for (const RopeName& entry : kRopeNames) {
    if (entry.kind == kind) return entry.name;
  }
  return "default";
}

Result<RopeKind> rope_kind(const std::string& name) {
  for (const RopeName& entry : kRopeNames) {
    if (entry.name == name) return entry.kind;
  }
  return invalid("rope kind '" + printable(name) + "' is not known");
}

// The keys must be exactly those of `expected`.
Status same_keys(const json& value, const ordered_json& expected) {
  std::vector<std::string> known;
  for (const auto& [key, unused] : expected.items()) known.push_back(key);
  if (!value.is_object()) return invalid("a model's spec must be an object");
  for (const auto& [key, unused] : value.items()) {
    if (!expected.contains(key)) return invalid("unknown key '" + printable(key) + "'" + suggestion(key, known));
  }
  for (const std::string& key : known) {
    if (!value.contains(key)) return invalid("key '" + key + "' is missing");
  }
  return {};
}

ordered_json optional_id(const std::optional<int32_t>& id) { return id ? ordered_json(*id) : ordered_json(); }

Result<int32_t> to_id(const json& value) {
  if (value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() <= INT32_MAX)
    return value.get<int32_t>();
  return invalid("a token id must be a whole number");
}

Result<std::optional<int32_t>> read_id(const json& value) {
  if (value.is_null()) return std::optional<int32_t>();
  GRAFT_TRY(const int32_t id, to_id(value));
  return std::optional(id);
}

ordered_json rope_to_json(const RopeSpec& rope) {
  return {{"kind", rope_name(rope.kind)},
          {"theta", rope.theta},
          {"factor", rope.factor},
          {"low_freq_factor", rope.low_freq_factor},
          {"high_freq_factor", rope.high_freq_factor},
          {"original_max_position", rope.original_max_position}};
}

Result<RopeSpec> rope_from_json(const json& value) {
  GRAFT_CHECK_OK(same_keys(value, rope_to_json({})));
  const JsonFields fields(value);
  RopeSpec rope;
  GRAFT_TRY(const std::string kind, fields.text("kind"));
  GRAFT_TRY(rope.kind, rope_kind(kind));
  GRAFT_TRY(rope.theta, fields.number("theta"));
  GRAFT_TRY(rope.factor, fields.number("factor"));
  GRAFT_TRY(rope.low_freq_factor, fields.number("low_freq_factor"));
  GRAFT_TRY(rope.high_freq_factor, fields.number("high_freq_factor"));
  GRAFT_TRY(rope.original_max_position, fields.integer("original_max_position"));
  return rope;
}

Status read_sizes(const JsonFields& fields, ModelSpec& spec) {
  GRAFT_TRY(spec.vocab_size, fields.integer("vocab_size"));
  GRAFT_TRY(spec.hidden_size, fields.integer("hidden_size"));
  GRAFT_TRY(spec.intermediate_size, fields.integer("intermediate_size"));
  GRAFT_TRY(spec.num_layers, fields.integer("num_layers"));
  GRAFT_TRY(spec.num_heads, fields.integer("num_heads"));
  GRAFT_TRY(spec.num_kv_heads, fields.integer("num_kv_heads"));
  GRAFT_TRY(spec.head_dim, fields.integer("head_dim"));
  GRAFT_TRY(spec.max_position, fields.integer("max_position"));
  GRAFT_TRY(spec.rms_norm_eps, fields.number("rms_norm_eps"));
  GRAFT_TRY(spec.tie_word_embeddings, fields.boolean_or("tie_word_embeddings", false));
  GRAFT_TRY(spec.attention_bias, fields.boolean_or("attention_bias", false));
  GRAFT_TRY(spec.mlp_bias, fields.boolean_or("mlp_bias", false));
  return {};
}

}  // namespace

ordered_json spec_to_json(const ModelSpec& spec) {
  return {{"architecture", spec.architecture},
          {"model_type", spec.model_type},
          {"vocab_size", spec.vocab_size},
          {"hidden_size", spec.hidden_size},
          {"intermediate_size", spec.intermediate_size},
          {"num_layers", spec.num_layers},
          {"num_heads", spec.num_heads},
          {"num_kv_heads", spec.num_kv_heads},
          {"head_dim", spec.head_dim},
          {"max_position", spec.max_position},
          {"rms_norm_eps", spec.rms_norm_eps},
          {"rope", rope_to_json(spec.rope)},
          {"tie_word_embeddings", spec.tie_word_embeddings},
          {"attention_bias", spec.attention_bias},
          {"mlp_bias", spec.mlp_bias},
          {"bos_token_id", optional_id(spec.bos_token_id)},
          {"pad_token_id", optional_id(spec.pad_token_id)},
          {"eos_token_ids", spec.eos_token_ids}};
}

Result<ModelSpec> spec_from_json(const json& value) {
  GRAFT_CHECK_OK(same_keys(value, spec_to_json({})));
  const JsonFields fields(value);
  ModelSpec spec;
  GRAFT_TRY(spec.architecture, fields.text("architecture"));
  GRAFT_TRY(spec.model_type, fields.text("model_type"));
  GRAFT_CHECK_OK(read_sizes(fields, spec));
  GRAFT_TRY(spec.rope, rope_from_json(value["rope"]));
  GRAFT_TRY(spec.bos_token_id, read_id(value["bos_token_id"]));
  GRAFT_TRY(spec.pad_token_id, read_id(value["pad_token_id"]));
  if (!value["eos_token_ids"].is_array()) return invalid("key 'eos_token_ids' must be a list");
  for (const json& entry : value["eos_token_ids"]) {
    GRAFT_TRY(const int32_t id, to_id(entry));
    spec.eos_token_ids.push_back(id);
  }
  GRAFT_CHECK_OK(check_spec(spec));
  return spec;
}

}  // namespace graft::formats
