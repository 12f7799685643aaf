#pragma once

#include <CLI/CLI.hpp>

namespace graft::engine {

// `graft merge`: a model with an adapter folded into its weights, and how far it is from the two apart. The exit code
// is written to *code.
void add_merge_command(CLI::App& app, int* code);

}  // namespace graft::engine
