#pragma once

#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace CLI {
class App;
}

namespace graft::cli {

// Exit codes of every command: done, failed, wrong use.
constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kWrongUse = 2;

// Where a command prints: data to out, one line per error to err.
struct Streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
};

// A verb of `graft`. Verbs that need a model are run by graft-engine, the others by `run`.
struct Command {
  std::string_view name;
  std::string_view help;
  bool in_engine = false;
  int (*run)(const std::vector<std::string>& arguments, Streams& streams) = nullptr;
};

std::span<const Command> commands();

// `graft ARGUMENTS...` but for the verbs of the engine, which `exec_engine` is called for: it returns only on failure.
int run(const std::vector<std::string>& arguments, Streams& streams,
        const std::function<Status(const std::vector<std::string>&)>& exec_engine);

// Parses a verb's arguments and runs `action`; prints its error as "graft VERB: message". Handles --help and wrong use.
int run_app(CLI::App& app, const std::vector<std::string>& arguments, Streams& streams,
            const std::function<Status()>& action);

int run_models(const std::vector<std::string>& arguments, Streams& streams);
int run_tokenize(const std::vector<std::string>& arguments, Streams& streams);
int run_template(const std::vector<std::string>& arguments, Streams& streams);
int run_config(const std::vector<std::string>& arguments, Streams& streams);
int run_data(const std::vector<std::string>& arguments, Streams& streams);
int run_export(const std::vector<std::string>& arguments, Streams& streams);
int run_bench(const std::vector<std::string>& arguments, Streams& streams);
int run_doctor(const std::vector<std::string>& arguments, Streams& streams);

}  // namespace graft::cli
