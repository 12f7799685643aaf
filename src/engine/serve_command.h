#pragma once

#include <CLI/CLI.hpp>

namespace graft::engine {

// `graft serve`: one engine, one base model, any number of adapters. Runs until SIGINT or SIGTERM. The exit
// code is written to *code.
void add_serve_command(CLI::App& app, int* code);

}  // namespace graft::engine
