#pragma once

#include <functional>

#include "base/result.h"
#include "load/load_options.h"

namespace graft::load {

// Warms the endpoint up, asks everything, and returns what happened to each request; failed ones are part of that.
// `on_progress` hears how many are answered. One thread; nothing here is measured twice or left out.
// Errors: invalid (options that contradict each other), io (no request of the warm-up was answered; says why).
Result<LoadRun> run_load(const LoadOptions& options, const std::function<void(int64_t done)>& on_progress = {});

}  // namespace graft::load
