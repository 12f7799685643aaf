#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "load/load_options.h"

namespace graft::load {

// Milliseconds; NaN everywhere where there are no values.
struct Distribution {
  int64_t count = 0;
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;
};

// The value below which `share` (0 to 1) of them lie, by linear interpolation between the two nearest ranks, as numpy
// has it. `sorted` is ascending and not empty.
double percentile(const std::vector<double>& sorted, double share);
Distribution distribution(std::vector<double> values);

// Of the requests that were answered; the failed ones are in `errors` alone.
struct Summary {
  int64_t answered = 0;
  int64_t failed = 0;
  std::map<std::string, int64_t> errors;  // kind -> how many
  double seconds = 0;
  double requests_per_s = 0;
  double output_tokens_per_s = 0;
  double prompt_tokens_per_s = 0;
  int64_t output_tokens = 0;
  int64_t prompt_tokens = 0;
  int64_t most_in_flight = 0;
  Distribution first_token;  // from due to the first token
  Distribution per_token;    // of each request: from the first token to the end, over the tokens after the first
  Distribution inter_token;  // between a token and the next, of all requests together
  Distribution end_to_end;   // from due to the end
};

Summary summarise(const LoadRun& run);

nlohmann::ordered_json summary_json(const LoadOptions& options, const LoadRun& run);
std::string summary_text(const LoadOptions& options, const LoadRun& run);  // for a terminal
std::string describe(const LoadOptions& options);                          // "100 requests, 8 at a time, ..."

}  // namespace graft::load
