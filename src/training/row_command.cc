#include "training/row_command.h"

#include <CLI/CLI.hpp>

namespace graft::training {
namespace {

void add_config_options(CLI::App& command, RowOptions& options, bool positional) {
  CLI::Option* named = command.add_option("--config", options.config, "The config that the adapter was trained with")
                           ->type_name("CONFIG.yaml");
  if (positional) {
    command.add_option("config", options.config, "The same, as an argument")->type_name("CONFIG.yaml")->excludes(named);
  }
  command.add_option("--set", options.overrides, "Overrides one key of the config")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_model_options(CLI::App& command, RowOptions& options) {
  command.add_option("--model", options.model, "The base model; wins over the config's base_model")
      ->type_name("NAME|DIR|GGUF");
  command.add_option("--adapter", options.adapter, "A PEFT directory; without it the base model answers")
      ->type_name("DIR");
  command.add_option("--dtype", options.dtype, "Of the base: bfloat16, float32, int8 or int4")
      ->check(CLI::IsMember({"bfloat16", "float32", "int8", "int4"}))
      ->type_name("DTYPE");
  command.add_option("--threads", options.threads, "Compute threads; 0: one for each core")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
}

void add_data_options(CLI::App& command, RowOptions& options, bool positional) {
  command.add_option(positional ? "data,--data,--dataset" : "--data,--dataset", options.dataset, "The data file")
      ->required()
      ->type_name("FILE");
  command
      .add_option("--prompt-template", options.prompt_template, "Without a config: the prompt, with {column}s in it")
      ->type_name("TEXT");
  command.add_option("--label-column", options.label_column, "Without a config: the column of the right answer")
      ->type_name("COLUMN");
  command.add_option("--limit", options.limit, "Only the first rows")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->type_name("N");
}

}  // namespace

void add_row_options(CLI::App& command, RowOptions& options, bool positional_data) {
  add_config_options(command, options, !positional_data);
  add_model_options(command, options);
  add_data_options(command, options, positional_data);
  command.add_option("--max-new-tokens", options.max_new_tokens, "Longest answer; wins over the config's")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
}

}  // namespace graft::training
