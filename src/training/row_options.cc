#include "training/row_options.h"

#include <fmt/format.h>

#include "base/files.h"
#include "recipe/prompt_template.h"

namespace graft::training {
namespace {

// Without a config, the flags say how rows become prompts; without those, rows are {prompt, completion} or {messages}.
Result<recipe::TrainingConfig> config_of_flags(const RowOptions& options, bool needs_answers) {
  if (!options.model) return invalid("name the model: --model NAME, or a config with base_model");
  const bool unlabelled = !needs_answers && !options.label_column;
  if (options.prompt_template.has_value() != options.label_column.has_value() && !unlabelled) {
    return invalid("--prompt-template and --label-column belong together: give both, or a config");
  }
  recipe::TrainingConfig config;
  config.model_type = "llm";
  if (!options.prompt_template) return config;
  GRAFT_TRY(const auto prompt, recipe::PromptTemplate::parse(*options.prompt_template));
  for (const std::string& column : prompt.columns()) config.input_features.push_back({column, "text"});
  config.output_features.push_back({options.label_column.value_or(kNoLabelColumn), "text"});
  config.prompt.template_text = options.prompt_template;
  return config;
}

}  // namespace

Result<recipe::TrainingConfig> load_row_config(const RowOptions& options, bool needs_answers) {
  if (!options.config) {
    if (!options.overrides.empty()) return invalid("--set changes a config: give one");
    GRAFT_TRY(recipe::TrainingConfig config, config_of_flags(options, needs_answers));
    if (options.dtype) config.trainer.dtype = *options.dtype;
    config.base_model = *options.model;
    return config;
  }
  if (options.prompt_template || options.label_column) {
    return invalid("--prompt-template and --label-column stand in for a config: give one or the other");
  }
  std::vector<std::string> overrides = options.overrides;
  if (options.dtype) overrides.push_back("trainer.dtype=" + *options.dtype);
  GRAFT_TRY(recipe::TrainingConfig config, recipe::load_training_config(*options.config, overrides));
  if (options.model) config.base_model = *options.model;
  return config;
}

Status check_adapter(const std::optional<std::string>& adapter) {
  std::error_code error;
  if (!adapter || fs::exists(fs::path(*adapter) / "adapter_config.json", error)) return {};
  const bool job = fs::exists(fs::path(*adapter) / "adapter" / "adapter_config.json", error);
  return not_found(
      fmt::format("{}: has no adapter_config.json{}", *adapter,
                  job ? "; did you mean " + (fs::path(*adapter) / "adapter").string() + "?"
                      : "; --adapter names a PEFT directory, such as the adapter folder of a training run"));
}

}  // namespace graft::training
