#include "training/train_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "training/run_train.h"
#include "training/stop_signals.h"

namespace graft::training {

void add_train_command(CLI::App& app, OpenBaseModel open_model, int& exit_code) {
  CLI::App* command = app.add_subcommand("train", "Fine-tunes an adapter as a config file says");
  command->footer(
      "Leaves in the output directory: adapter/ (PEFT files, report.html, certificate.json), events.jsonl, "
      "checkpoints/.\n"
      "Ctrl-C writes a checkpoint and ends; --resume goes on from there, bit for bit.");
  auto options = std::make_shared<TrainOptions>();
  command->add_option("config", options->config, "The config: YAML, or JSON where the name ends in .json")
      ->required()
      ->type_name("CONFIG.yaml");
  command->add_option("--set", options->overrides, "Overrides one key of the config: --set trainer.epochs=3")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--dataset,--data", options->dataset, "The rows to train on: .jsonl, .json or .csv")
      ->type_name("FILE");
  command->add_option("--model", options->model, "The base model, instead of the config's base_model")
      ->type_name("NAME|DIR|GGUF");
  command
      ->add_option("--output", options->output,
                   "The job directory, new or empty without --resume; by default one in $GRAFT_HOME/jobs")
      ->type_name("DIR");
  command->add_flag("--resume", options->resume, "Goes on with the run in --output from its newest checkpoint");
  command->add_option("--dtype", options->dtype, "Of the frozen base: bfloat16, float32, int8 or int4")
      ->type_name("DTYPE");
  command->add_option("--threads", options->threads, "Compute threads; 0: one for each core")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
  command->add_flag("--json", options->json, "Prints the result as one JSON object, and no progress");
  command->callback([options, open_model = std::move(open_model), &exit_code] {
    const StopSignals signals;
    const ProgressStyle style = options->json ? ProgressStyle::kQuiet : progress_style_for(STDERR_FILENO);
    exit_code = run_train(*options, {open_model, signals.requested(), std::cout, std::cerr, style});
  });
}

}  // namespace graft::training
