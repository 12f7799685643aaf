#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/config_tree.h"
#include "base/result.h"
#include "training/train_state.h"

namespace graft::training {

// What job.json says about a run.
struct JobDescription {
  nlohmann::json config;  // resolved
  std::string base_model;
  std::string base_digest;
  std::string dataset;
  std::string dataset_sha256;
  RunEnvironment environment;
};

nlohmann::json to_json(const JobDescription& job);

// A resumed run must be asked for what the first one was asked for. The error names the first difference, and what it
// was. Where the data or the model lie, and the environment, may change.
Status check_same_job(const nlohmann::json& before, const nlohmann::json& now);

// A config as JSON: maps are objects, plain scalars become numbers, booleans or null where they look like one.
nlohmann::json config_to_json(const ConfigNode& node);

}  // namespace graft::training
