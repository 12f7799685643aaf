#pragma once

#include <CLI/App.hpp>

#include "training/row_options.h"

namespace graft::training {

// The options of a verb that asks a model about every row of a data file. --data is an option or, where `positional`
// says so, the verb's argument; the config is the argument otherwise.
void add_row_options(CLI::App& command, RowOptions& options, bool positional_data = false);

}  // namespace graft::training
