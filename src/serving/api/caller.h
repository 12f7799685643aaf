#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "net/http.h"
#include "serving/api/api_error.h"
#include "serving/engine.h"

namespace graft::serving::api {

// What a request's headers say about who asks and how long they wait, whatever the route.
struct Caller {
  std::string tenant;                   // x-graft-tenant, which a gateway sets; else the API key that was used
  std::chrono::nanoseconds max_time{};  // x-request-timeout-ms; 0: none
  std::string hub_token;                // the Bearer token where it looks like a hub's ("hf_..."), not like an API key

  // The stricter one of the header's time and what the request already has.
  void apply(GenerationRequest& request) const;
};

// Errors: a time that is not a whole number of milliseconds, at least 1.
ApiResult<Caller> caller_of(const net::Headers& headers);

// `max_time` of a body, in seconds. Errors: not strictly positive.
ApiResult<std::chrono::nanoseconds> read_max_time(std::optional<double> seconds, const std::string& field);

}  // namespace graft::serving::api
