#include "recipe/adapter_settings.h"

#include <charconv>
#include <cmath>

namespace graft::recipe {

namespace {

// alpha / r, or alpha / sqrt(r), stays what it was.
void double_rank(formats::PeftConfig& config) {
  const double alpha = config.use_rslora ? std::sqrt(2.0) : 2.0;
  config.r *= 2;
  config.lora_alpha *= alpha;
  for (auto& [name, rank] : config.rank_pattern) rank *= 2;
  for (auto& [name, value] : config.alpha_pattern) value *= alpha;
}

}  // namespace

std::optional<int64_t> pissa_iterations(std::string_view init_lora_weights) {
  constexpr std::string_view kPissa = "pissa";
  constexpr std::string_view kIterations = "pissa_niter_";
  if (init_lora_weights == kPissa) return 0;
  if (!init_lora_weights.starts_with(kIterations)) return std::nullopt;
  const std::string_view digits = init_lora_weights.substr(kIterations.size());
  int64_t iterations = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), iterations);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  return whole && iterations >= 1 && iterations <= 99 ? std::optional(iterations) : std::nullopt;
}

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
  if (pissa_iterations(adapter.init_lora_weights)) double_rank(config);
  return config;
}

}  // namespace graft::recipe
