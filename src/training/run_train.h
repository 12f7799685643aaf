#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "training/verb.h"

namespace graft::training {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;  // --set
  std::optional<std::string> dataset;
  std::optional<std::string> model;
  std::optional<std::string> dtype;
  std::string output;  // empty: a new directory under $GRAFT_HOME/jobs
  bool resume = false;
  bool json = false;
  int32_t threads = 0;
};

// `graft train`: reads the config and the data, says what will happen and whether it fits, trains, and leaves the job
// directory with adapter, certificate and report. Returns the exit code; after an error one line is on `context.err`.
int run_train(const TrainOptions& options, const VerbContext& context);

}  // namespace graft::training
