#pragma once

#include <CLI/App.hpp>

#include "training/base_model.h"

namespace graft::training {

// Adds `eval` to the program. When it was given, `exit_code` holds the outcome after parsing: 0 done, 1 failed or
// stopped, 2 wrong use.
void add_eval_command(CLI::App& app, OpenBaseModel open_model, int& exit_code);

}  // namespace graft::training
