#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "serving/engine.h"

namespace graft::training {

struct GenerateAllOptions {
  int32_t in_flight = 64;  // requests given to the engine at a time; >= 1
  // Called on this thread, for each request that is done: how many are, and how many tokens they hold.
  std::function<void(int64_t done, int64_t tokens)> on_progress;
  const std::atomic<bool>* stop = nullptr;  // set: the rest is cancelled
};

// Runs many requests through the engine, batched, and returns the results in the order of the requests. The first
// request that fails ends it; kCancelled where `stop` was set.
Result<std::vector<serving::GenerationResult>> generate_all(serving::Engine& engine,
                                                            std::vector<serving::GenerationRequest> requests,
                                                            const GenerateAllOptions& options);

}  // namespace graft::training
