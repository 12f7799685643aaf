#pragma once

#include <string>

#include "load/load_options.h"

namespace graft::load {

// A run as one HTML page without any external resource: latencies and throughput over time, histograms, errors.
std::string render_load_report(const LoadOptions& options, const LoadRun& run);

}  // namespace graft::load
