#pragma once

#include <CLI/App.hpp>

#include "training/base_model.h"

namespace graft::training {

// Adds `predict` to the program; `exit_code` as of add_eval_command.
void add_predict_command(CLI::App& app, OpenBaseModel open_model, int& exit_code);

}  // namespace graft::training
