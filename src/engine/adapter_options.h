#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"
#include "serving/api/api_server.h"
#include "serving/engine.h"

namespace graft::engine {

// Where `graft serve` finds adapters. Names are LoRAX's launcher's where it has them; each is an environment variable
// too.
struct AdapterOptions {
  std::string source = "local";        // of ids that come without one
  std::string default_adapter;         // of requests that name none
  std::string directory;               // its subfolders are adapters
  std::vector<std::string> preloaded;  // ids, of that source
  double recheck_s = 60;               // how long a source's answer holds
  std::string check_certificates = "off";

  void add_to(CLI::App& command);
  // Sources, caches below GRAFT_HOME and the hub's cache, and what merges need.
  // `computes`: what the engine computes in, as certificates name it.
  Status configure(const LoadedModel& model, serving::Engine& engine, const std::string& computes,
                   serving::api::ApiConfig& config) const;
};

// Fetches and reads adapters once, so that no request waits and a bad name shows now. `config`: as configured above.
Status preload_adapters(serving::Engine& engine, const LoadedModel& model, const serving::api::ApiConfig& config,
                        const std::vector<std::string>& ids);

}  // namespace graft::engine
