#include "recipe/adapter_settings.h"

namespace graft::recipe {

formats::PeftConfig peft_config(const AdapterConfig& adapter, const std::string& base_model) {
  formats::PeftConfig config;
  config.r = adapter.r;
  config.lora_alpha = adapter.alpha.value_or(2.0 * static_cast<double>(adapter.r));
  config.lora_dropout = adapter.dropout;
  config.use_rslora = adapter.use_rslora;
  config.use_dora = adapter.use_dora;
  config.base_model_name_or_path = base_model;
  config.exclude_modules.names = adapter.exclude_modules;
  for (const double layer : adapter.layers_to_transform) {
    config.layers_to_transform.push_back(static_cast<int64_t>(layer));
  }
  if (adapter.target_pattern) {
    config.target_modules.kind = formats::PeftModules::Kind::kRegex;
    config.target_modules.regex = *adapter.target_pattern;
  } else if (adapter.target_modules.size() == 1 && adapter.target_modules[0] == "all-linear") {
    config.target_modules.kind = formats::PeftModules::Kind::kAllLinear;
  } else {
    config.target_modules.names = adapter.target_modules;
  }
  for (const auto& [name, rank] : adapter.rank_pattern) {
    config.rank_pattern.emplace_back(name, static_cast<int64_t>(rank));
  }
  config.alpha_pattern = adapter.alpha_pattern;
  return config;
}

}  // namespace graft::recipe
