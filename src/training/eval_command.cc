#include "training/eval_command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "training/row_command.h"
#include "training/run_eval.h"
#include "training/stop_signals.h"

namespace graft::training {
void add_eval_command(CLI::App& app, OpenBaseModel open_model, int& exit_code) {
  CLI::App* command = app.add_subcommand("eval", "Scores a model, with or without an adapter, on a data file");
  command->footer(
      "Answers are greedy; an answer counts where it equals the right one, whatever the case, white space around it "
      "and\n"
      "a final full stop. Rows are read as the config of the training says, or as --prompt-template and "
      "--label-column\n"
      "say; without either they are {prompt, completion} or {messages}.");
  auto options = std::make_shared<EvalOptions>();
  add_row_options(*command, *options);
  command->add_flag("--loss", options->loss,
                    "Loss and perplexity of the right answers, too: a second pass over the rows");
  command
      ->add_option("--metric", options->metrics,
                   "One more score: exact_match, token_f1, rouge_l, json_validity, or a Python file with a function "
                   "metric(prompt, completion, reference); may be given several times")
      ->type_name("NAME|FILE.py")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
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
