#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "formats/model_layout.h"
#include "formats/model_spec.h"

// LoRA settings as PEFT stores them in adapter_config.json.
namespace graft::formats {

// Which modules: names (a whole path, or its last parts), or one regular expression for the whole path, or
// "all-linear": every linear layer but the output layer.
struct PeftModules {
  enum class Kind { kNames, kRegex, kAllLinear };
  Kind kind = Kind::kNames;
  std::vector<std::string> names;
  std::string regex;
};

enum class PeftTask { kCausalLm, kSequenceClassification, kTokenClassification };

struct PeftConfig {
  PeftTask task = PeftTask::kCausalLm;  // the others have a classification head beside the factors, module "score"
  int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0;
  PeftModules target_modules;
  PeftModules exclude_modules;  // kNames (empty: none) or kRegex
  bool use_rslora = false;      // scale alpha / sqrt(r) instead of alpha / r
  bool use_dora = false;        // every module has a magnitude vector too
  // The first pattern that matches a path, or its end after a dot, sets its rank or alpha.
  std::vector<std::pair<std::string, int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::vector<int64_t> layers_to_transform;  // empty: all
  std::vector<std::string> layers_pattern;   // the module list's name, "layers"; empty: any
  std::string base_model_name_or_path;
};

// Reads leniently what changes nothing and refuses by name what cannot be honoured (biases, modules_to_save,
// PiSSA, ...), so that an adapter never computes something else here than in PEFT.
Result<PeftConfig> parse_peft_config(std::string_view adapter_config_json);

// Minimal adapter_config.json: sorted keys, indented by 2. PEFT reads it back as the same settings.
std::string peft_config_json(const PeftConfig& config);

// One module that an adapter changes: y += scale * B (A x), A [r, in], B [out, r].
struct AdapterSlot {
  std::string path;  // "model.layers.3.self_attn.q_proj"
  int64_t in = 0;
  int64_t out = 0;
  int64_t r = 0;
  double scale = 1;
};

// The modules of this model that the settings target, in the order of linear_modules(). A target name that matches
// nothing is an error.
Result<std::vector<AdapterSlot>> adapter_slots(const PeftConfig& config, const ModelSpec& spec);

}  // namespace graft::formats
