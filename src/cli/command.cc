#include "cli/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <ostream>

#include "base/strings.h"

namespace graft::cli {
namespace {

constexpr const char* kVersion = "graft 0.1.0";

constexpr std::array kCommands = {
    Command{"import", "take a model in: from a directory, a .gguf file, a hub or a URI", true},
    Command{"models", "list the imported models, or remove one", false, run_models},
    Command{"train", "fine-tune an adapter from a declarative config", true},
    Command{"serve", "serve a model and its adapters over HTTP", true},
    Command{"prompt", "ask a model once, without a server", true},
    Command{"eval", "score a data file", true},
    Command{"predict", "answer every row of a data file", true},
    Command{"data", "look at a data file as training reads it", false, run_data},
    Command{"config", "show a resolved training config, or its schema", false, run_config},
    Command{"tokenize", "show the tokens of a text", false, run_tokenize},
    Command{"template", "render a chat template", false, run_template},
    Command{"merge", "fold an adapter into its base model's weights", true},
    Command{"export", "write a model or adapter as GGUF, safetensors, PEFT", false, run_export},
    Command{"bench", "measure a running server", false, run_bench},
    Command{"doctor", "check that this machine is ready", false, run_doctor},
};

void print_overview(std::ostream& out) {
  out << "graft fine-tunes open language models and serves the results.\n\nUsage: graft VERB [OPTIONS]\n\nVerbs:\n";
  for (const Command& command : kCommands) {
    out << "  " << command.name << std::string(12 - command.name.size(), ' ') << command.help << "\n";
  }
  out << "\n`graft VERB --help` lists a verb's options. Models and jobs are kept in $GRAFT_HOME, by default "
         "~/.graft.\n";
}

int unknown_verb(const std::string& verb, std::ostream& err) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  err << "graft: no verb '" << printable(verb) << "'" << suggestion(verb, names) << " (graft --help lists all)\n";
  return kWrongUse;
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

int run(const std::vector<std::string>& arguments, Streams& streams,
        const std::function<Status(const std::vector<std::string>&)>& exec_engine) {
  if (arguments.empty()) {
    print_overview(streams.err);
    return kWrongUse;
  }
  const std::string& verb = arguments.front();
  if (verb == "--help" || verb == "-h" || verb == "help") {
    print_overview(streams.out);
    return kDone;
  }
  if (verb == "--version") {
    streams.out << kVersion << "\n";
    return kDone;
  }
  const auto command =
      std::find_if(kCommands.begin(), kCommands.end(), [&](const Command& c) { return c.name == verb; });
  if (command == kCommands.end()) return unknown_verb(verb, streams.err);
  if (!command->in_engine) return command->run({arguments.begin() + 1, arguments.end()}, streams);
  const Status status = exec_engine(arguments);
  if (status.ok()) return kDone;
  streams.err << "graft " << verb << ": " << status.error().message << "\n";
  return kFailed;
}

int run_app(CLI::App& app, const std::vector<std::string>& arguments, Streams& streams,
            const std::function<Status()>& action) {
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // it pops from the back
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    streams.out << (chosen.empty() ? app.help() : chosen.front()->help());
    return kDone;
  } catch (const CLI::ParseError& error) {
    streams.err << app.get_name() << ": " << printable(error.what(), 400) << " (" << app.get_name()
                << " --help shows the usage)\n";
    return kWrongUse;
  }
  const Status status = action();
  if (status.ok()) return kDone;
  streams.err << app.get_name() << ": " << status.error().message << "\n";
  return kFailed;
}

}  // namespace graft::cli
