#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/loaded_model.h"
#include "serving/engine.h"

namespace graft::engine {

// The options of every command that runs the engine. Names are LoRAX's launcher's; each is an environment variable too.
struct EngineOptions {
  std::string model;
  std::string dtype = "bfloat16";
  std::string kv_cache_dtype = "auto";
  int32_t threads = 0;                     // 0: all cores
  int32_t max_total_tokens = 0;            // prompt and output of one request; 0: the model's context, if memory allows
  int32_t max_batch_total_tokens = 0;      // positions in the KV cache; 0: by memory
  int32_t max_batch_prefill_tokens = 512;  // tokens of one step
  int32_t max_concurrent_requests = 1024;
  int32_t max_batch_size = 256;
  int32_t speculative_tokens = 0;
  int32_t speculation_max_batch_size = 32;
  int32_t max_active_adapters = 1024;
  double adapter_memory_fraction = 0.1;
  double adapter_cycle_time_s = 2;
  std::string scheduling = "fair";
  double max_tenant_share = 0.9;
  std::vector<std::string> tenant_weights;
  double max_request_time_s = 0;  // 0: no limit

  void add_to(CLI::App& command);

 private:
  void add_scheduling_to(CLI::App& command);
};

// Sizes the cache by the machine's memory where it is not given.
Result<std::unique_ptr<serving::Engine>> start_engine(const LoadedModel& model, const EngineOptions& options);

}  // namespace graft::engine
