#include "training/predict_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "training/row_command.h"
#include "training/run_predict.h"
#include "training/stop_signals.h"

namespace graft::training {

void add_predict_command(CLI::App& app, OpenBaseModel open_model, int& exit_code) {
  CLI::App* command = app.add_subcommand("predict", "Writes a model's answer to every row of a data file");
  command->footer(
      "Rows are read as for `graft eval`, and need no right answer: {prompt}, {messages} that end with the user, or\n"
      "--prompt-template alone will do. One JSON object a line, in the order of the rows. Answers are greedy unless\n"
      "--temperature is above 0.");
  auto options = std::make_shared<PredictOptions>();
  add_row_options(*command, *options, true);
  command->add_option("--output", options->output, "Where the predictions go; standard output without it")
      ->type_name("FILE.jsonl");
  command->add_flag("--resume", options->resume, "Goes on behind the rows that --output has already");
  command->add_option("--temperature", options->temperature, "Samples the answers; 0: the most probable token")
      ->check(CLI::Range(0.0, 100.0))
      ->type_name("T");
  command->add_option("--top-k", options->top_k, "Samples from the k most probable tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("K");
  command->add_option("--top-p", options->top_p, "Samples from the tokens that together reach this probability")
      ->check(CLI::Range(1e-9, 1.0))
      ->type_name("P");
  command->add_option("--seed", options->seed, "Of sampling")->type_name("N");
  command->add_flag("--json", options->json, "No progress; with --output a summary as one JSON object");
  command->callback([options, open_model = std::move(open_model), &exit_code] {
    const StopSignals signals;
    const ProgressStyle style = options->json ? ProgressStyle::kQuiet : progress_style_for(STDERR_FILENO);
    exit_code = run_predict(*options, {open_model, signals.requested(), std::cout, std::cerr, style});
  });
}

}  // namespace graft::training
