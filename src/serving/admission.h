#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "base/result.h"

namespace graft::serving {

// How many requests may be here, in all and of one tenant, and when to come again. Not thread-safe.
class Admission {
 public:
  using Clock = std::chrono::steady_clock;

  // A tenant with a name may hold `max_tenant_share` of the places, at least one.
  Admission(int32_t max_requests, double max_tenant_share);

  Status enter(const std::string& tenant);  // error: overloaded
  void leave(const std::string& tenant, Clock::time_point now);

  // The time that a request spends here at the rate of the last departures (Little's law), 1 s to 60 s.
  [[nodiscard]] std::chrono::seconds retry_after(Clock::time_point now) const;
  [[nodiscard]] int32_t requests() const { return requests_; }
  [[nodiscard]] uint64_t refused() const { return refused_; }

 private:
  int32_t max_requests_;
  int32_t max_of_tenant_;
  int32_t requests_ = 0;
  uint64_t refused_ = 0;
  std::unordered_map<std::string, int32_t> of_tenant_;
  std::deque<Clock::time_point> departures_;  // the last ones
};

}  // namespace graft::serving
