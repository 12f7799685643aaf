#pragma once

#include <CLI/CLI.hpp>

namespace graft::engine {

// `graft import`: takes a model in and prepares its weights. The exit code is written to *code.
void add_import_command(CLI::App& app, int* code);

}  // namespace graft::engine
