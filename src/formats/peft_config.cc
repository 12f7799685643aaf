#include "formats/peft_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/json.h"
#include "base/strings.h"
#include "formats/json_fields.h"

namespace graft::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int64_t kLargestRank = 65536;

// Read below.
constexpr std::array<std::string_view, 18> kUsedKeys = {"peft_type",
                                                        "task_type",
                                                        "r",
                                                        "lora_alpha",
                                                        "lora_dropout",
                                                        "target_modules",
                                                        "exclude_modules",
                                                        "use_rslora",
                                                        "use_dora",
                                                        "rank_pattern",
                                                        "alpha_pattern",
                                                        "layers_to_transform",
                                                        "layers_pattern",
                                                        "base_model_name_or_path",
                                                        "bias",
                                                        "init_lora_weights",
                                                        "fan_in_fan_out",
                                                        "modules_to_save"};

// No effect on what a finished adapter computes, whatever their value.
constexpr std::array<std::string_view, 12> kHarmlessKeys = {
    "auto_mapping", "inference_mode", "revision",   "peft_version",        "megatron_core", "qalora_group_size",
    "loftq_config", "runtime_config", "eva_config", "ensure_weight_tying", "velora_config", "ephemeral_gpu_offload"};

template <size_t N>
bool listed(const std::array<std::string_view, N>& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

bool switched_off(const json& value) {
  return value.is_null() || value == json(false) || ((value.is_array() || value.is_object()) && value.empty());
}

// Every other key is an extension of LoRA: fine while it is switched off.
Status refuse_extensions(const json& config) {
  for (const auto& [key, value] : config.items()) {
    if (listed(kUsedKeys, key) || listed(kHarmlessKeys, key) || switched_off(value)) continue;
    return unsupported("key '" + printable(key) + "' is set, and cannot be honoured here");
  }
  return {};
}

Status refuse_unhonoured(const JsonFields& fields) {
  GRAFT_TRY(const std::string type, fields.text("peft_type"));
  if (type != "LORA") return unsupported("peft_type '" + printable(type) + "' is not supported; supported: LORA");
  GRAFT_TRY(const std::string bias, fields.text_or("bias", "none"));
  if (bias != "none") return unsupported("bias '" + printable(bias) + "' is not supported; supported: none");
  GRAFT_TRY(const bool transposed, fields.boolean_or("fan_in_fan_out", false));
  if (transposed) return unsupported("fan_in_fan_out true is not supported");
  return {};
}

Result<PeftTask> parse_task(const JsonFields& fields) {
  GRAFT_TRY(const std::string name, fields.text_or("task_type", "CAUSAL_LM"));
  PeftTask task = PeftTask::kCausalLm;
  if (name == "SEQ_CLS") task = PeftTask::kSequenceClassification;
  if (name == "TOKEN_CLS") task = PeftTask::kTokenClassification;
  if (name != "CAUSAL_LM" && task == PeftTask::kCausalLm) {
    return unsupported("task_type '" + printable(name) +
                       "' is not supported; supported: CAUSAL_LM, SEQ_CLS, TOKEN_CLS");
  }
  // PEFT names both; a decoder's head is "score".
  GRAFT_TRY(const auto saved, fields.texts("modules_to_save"));
  for (const std::string& module : saved) {
    if (task != PeftTask::kCausalLm && (module == "score" || module == "classifier")) continue;
    return unsupported("modules_to_save ('" + printable(module) + "') is not supported, only LoRA factors" +
                       " and the head of a classifier (score, with task_type SEQ_CLS or TOKEN_CLS)");
  }
  return task;
}

const char* task_name(PeftTask task) {
  if (task == PeftTask::kSequenceClassification) return "SEQ_CLS";
  return task == PeftTask::kTokenClassification ? "TOKEN_CLS" : "CAUSAL_LM";
}

// Some starting points of training also change the base weights, which are not in the adapter.
Status refuse_changed_base(const JsonFields& fields) {
  const json* init = fields.find("init_lora_weights");
  if (init == nullptr || init->is_boolean()) return {};
  for (const char* harmless : {"gaussian", "eva", "orthogonal"}) {
    if (*init == harmless) return {};
  }
  return unsupported("init_lora_weights " + printable(init->dump()) +
                     " changes the base weights; save the adapter with path_initial_model_for_weight_conversion");
}

Result<PeftModules> parse_modules(const JsonFields& fields, const std::string& key) {
  PeftModules modules;
  const json* value = fields.find(key);
  if (value == nullptr) return modules;
  if (value->is_string()) {
    const auto text = value->get<std::string>();
    if (text == "all-linear" && key == "target_modules") {
      modules.kind = PeftModules::Kind::kAllLinear;
    } else if (!text.empty()) {
      modules.kind = PeftModules::Kind::kRegex;
      modules.regex = text;
    }
    return modules;
  }
  GRAFT_TRY(modules.names, fields.texts(key));
  return modules;
}

Status check_rank(int64_t r, const std::string& place) {
  if (r >= 1 && r <= kLargestRank) return {};
  return invalid(place + " must be between 1 and " + std::to_string(kLargestRank));
}

// The order of the patterns decides, so these are read from the ordered form.
Status parse_patterns(const ordered_json& config, PeftConfig& out) {
  for (const std::string key : {"rank_pattern", "alpha_pattern"}) {
    const auto patterns = config.find(key);
    if (patterns == config.end() || patterns->is_null()) continue;
    if (!patterns->is_object()) return invalid("key '" + key + "' must map patterns to numbers");
    for (const auto& [pattern, value] : patterns->items()) {
      const std::string place = "key '" + key + "': the value of '" + printable(pattern) + "'";
      if (key == "rank_pattern") {
        if (!value.is_number_integer()) return invalid(place + " must be a whole number");
        GRAFT_CHECK_OK(check_rank(value.get<int64_t>(), place));
        out.rank_pattern.emplace_back(pattern, value.get<int64_t>());
      } else {
        if (!value.is_number() || !std::isfinite(value.get<double>())) return invalid(place + " must be a number");
        out.alpha_pattern.emplace_back(pattern, value.get<double>());
      }
    }
  }
  return {};
}

Status parse_layers(const JsonFields& fields, PeftConfig& out) {
  if (const json* layers = fields.find("layers_to_transform")) {
    const json list = layers->is_array() ? *layers : json::array({*layers});
    for (const json& layer : list) {
      if (!layer.is_number_integer()) return invalid("key 'layers_to_transform' must hold layer numbers");
      out.layers_to_transform.push_back(layer.get<int64_t>());
    }
  }
  const json* pattern = fields.find("layers_pattern");
  if (pattern != nullptr && pattern->is_string()) {
    out.layers_pattern = {pattern->get<std::string>()};
  } else {
    GRAFT_TRY(out.layers_pattern, fields.texts("layers_pattern"));
  }
  return {};
}

ordered_json modules_json(const PeftModules& modules) {
  if (modules.kind == PeftModules::Kind::kAllLinear) return "all-linear";
  if (modules.kind == PeftModules::Kind::kRegex) return modules.regex;
  std::vector<std::string> names = modules.names;
  std::sort(names.begin(), names.end());
  return names;
}

// Whole numbers without a fraction, as PEFT's type for alpha asks for.
json number_json(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

}  // namespace

Result<PeftConfig> parse_peft_config(std::string_view text) {
  GRAFT_TRY(const json config, parse_json(text));
  GRAFT_TRY(const ordered_json ordered, parse_ordered_json(text));
  if (!config.is_object()) return invalid("must hold an object");
  const JsonFields fields(config);
  GRAFT_CHECK_OK(refuse_unhonoured(fields));
  GRAFT_CHECK_OK(refuse_extensions(config));
  GRAFT_CHECK_OK(refuse_changed_base(fields));
  PeftConfig out;
  GRAFT_TRY(out.task, parse_task(fields));
  GRAFT_TRY(out.r, fields.integer("r"));
  GRAFT_CHECK_OK(check_rank(out.r, "key 'r'"));
  GRAFT_TRY(out.lora_alpha, fields.number("lora_alpha"));
  GRAFT_TRY(out.lora_dropout, fields.number_or("lora_dropout", 0));
  if (out.lora_dropout < 0 || out.lora_dropout >= 1)
    return invalid("key 'lora_dropout' must be at least 0 and below 1");
  GRAFT_TRY(out.target_modules, parse_modules(fields, "target_modules"));
  GRAFT_TRY(out.exclude_modules, parse_modules(fields, "exclude_modules"));
  GRAFT_TRY(out.use_rslora, fields.boolean_or("use_rslora", false));
  GRAFT_TRY(out.use_dora, fields.boolean_or("use_dora", false));
  GRAFT_CHECK_OK(parse_patterns(ordered, out));
  GRAFT_CHECK_OK(parse_layers(fields, out));
  GRAFT_TRY(out.base_model_name_or_path, fields.text_or("base_model_name_or_path", ""));
  return out;
}

std::string peft_config_json(const PeftConfig& config) {
  json out = {{"peft_type", "LORA"},
              {"task_type", task_name(config.task)},
              {"base_model_name_or_path", config.base_model_name_or_path},
              {"inference_mode", true},
              {"bias", "none"},
              {"r", config.r},
              {"lora_alpha", number_json(config.lora_alpha)},
              {"lora_dropout", config.lora_dropout},
              {"use_rslora", config.use_rslora},
              {"target_modules", json(modules_json(config.target_modules))}};
  if (config.use_dora) out["use_dora"] = true;
  if (config.task != PeftTask::kCausalLm) out["modules_to_save"] = {"classifier", "score"};
  if (config.exclude_modules.kind == PeftModules::Kind::kRegex || !config.exclude_modules.names.empty()) {
    out["exclude_modules"] = json(modules_json(config.exclude_modules));
  }
  if (!config.layers_to_transform.empty()) out["layers_to_transform"] = config.layers_to_transform;
  if (!config.layers_pattern.empty()) out["layers_pattern"] = config.layers_pattern;
  // Patterns keep their order: it decides which one matches. All other keys are sorted.
  ordered_json sorted = ordered_json::object();
  ordered_json ranks = ordered_json::object();
  ordered_json alphas = ordered_json::object();
  for (const auto& [pattern, rank] : config.rank_pattern) ranks[pattern] = rank;
  for (const auto& [pattern, alpha] : config.alpha_pattern) alphas[pattern] = number_json(alpha);
  out["rank_pattern"] = nullptr;
  out["alpha_pattern"] = nullptr;
  for (const auto& [key, value] : out.items()) sorted[key] = value;
  sorted["rank_pattern"] = ranks;
  sorted["alpha_pattern"] = alphas;
  return sorted.dump(2) + "\n";
}

}  // namespace graft::formats
