#pragma once

#include <CLI/CLI.hpp>

namespace graft::engine {

// `graft prompt`: one completion by the same engine, without a server. The exit code is written to *code.
void add_prompt_command(CLI::App& app, int* code);

}  // namespace graft::engine
