#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "net/http.h"
#include "serving/api/api_context.h"

namespace graft::serving::api {

// When a request's stages began.
struct Timeline {
  using Clock = std::chrono::steady_clock;
  Clock::time_point came = Clock::now();
  Clock::time_point submitted{};
};

// What is known before the first token: x-compute-type, x-compute-characters, x-model-id, and for an adapter
// x-adapter-id and x-adapter-source. Values that are not ASCII are percent-encoded.
net::Headers start_headers(const ApiContext& context, size_t characters, const AdapterLabel& adapter);

// Adds tokens and times (whole milliseconds) of finished sequences: the tokens of all, the slowest one's times.
void add_finish_headers(net::Headers& headers, const Timeline& times, const std::vector<GenerationResult>& results);

// The same numbers for the metrics.
FinishedRequest finished_request(const Timeline& times, const std::vector<GenerationResult>& results,
                                 const std::string& adapter);

// The token of "Authorization: Bearer TOKEN"; empty where there is none.
std::string bearer_token(const net::Headers& headers);

}  // namespace graft::serving::api
