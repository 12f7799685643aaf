#include "training/eval_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "training/run_eval.h"
#include "training/stop_signals.h"

namespace graft::training {
namespace {

void add_model_options(CLI::App& command, EvalOptions& options) {
  command.add_option("--model", options.model, "The base model; wins over the config's base_model")
      ->type_name("NAME|DIR|GGUF");
  command.add_option("--adapter", options.adapter, "A PEFT directory; without it the base model is scored")
      ->type_name("DIR");
  command.add_option("--dtype", options.dtype, "Of the base: bfloat16, float32, int8 or int4")
      ->check(CLI::IsMember({"bfloat16", "float32", "int8", "int4"}))
      ->type_name("DTYPE");
  command.add_option("--threads", options.threads, "Compute threads; 0: one for each core")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
}

void add_data_options(CLI::App& command, EvalOptions& options) {
  command.add_option("--data,--dataset", options.dataset, "The rows to score: .jsonl, .json or .csv")
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

void add_eval_command(CLI::App& app, OpenBaseModel open_model, int& exit_code) {
  CLI::App* command = app.add_subcommand("eval", "Scores a model, with or without an adapter, on a data file");
  command->footer(
      "Answers are greedy; an answer counts where it equals the right one, whatever the case, white space around it "
      "and\n"
      "a final full stop. Rows are read as the config of the training says, or as --prompt-template and "
      "--label-column\n"
      "say; without either they are {prompt, completion} or {messages}.");
  auto options = std::make_shared<EvalOptions>();
  auto* config = command->add_option("config", options->config, "The config that the adapter was trained with")
                     ->type_name("CONFIG.yaml");
  command->add_option("--config", options->config, "The same, as an option")
      ->type_name("CONFIG.yaml")
      ->excludes(config);
  command->add_option("--set", options->overrides, "Overrides one key of the config")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_model_options(*command, *options);
  add_data_options(*command, *options);
  command->add_option("--max-new-tokens", options->max_new_tokens, "Longest answer; wins over the config's")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  command->add_flag("--loss", options->loss,
                    "Loss and perplexity of the right answers, too: a second pass over the rows");
  command->add_option("--output", options->output, "Where the predictions go, one JSON object a line")
      ->type_name("FILE");
  command->add_flag("--json", options->json, "Prints the result as one JSON object, and no progress");
  command->callback([options, open_model = std::move(open_model), &exit_code] {
    const StopSignals signals;
    const ProgressStyle style = options->json ? ProgressStyle::kQuiet : progress_style_for(STDERR_FILENO);
    exit_code = run_eval(*options, {open_model, signals.requested(), std::cout, std::cerr, style});
  });
}

}  // namespace graft::training
