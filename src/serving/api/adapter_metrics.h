#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "serving/api/metric_text.h"
#include "serving/engine.h"

namespace graft::serving::api {

struct FinishedRequest {
  std::string adapter;  // empty: the base model
  int32_t prompt_tokens = 0;
  int32_t generated_tokens = 0;
  std::chrono::nanoseconds total{}, validation{}, queued{}, inference{};
};

// What each adapter did, for so many of them as `max_series`: those used last. What one has done goes to the series
// "other" when it has to give way, so that sums over all series are right, and each series only grows or ends.
class AdapterMetrics {
 public:
  explicit AdapterMetrics(size_t max_series = 256) : max_series_(max_series) {}

  void finished(const FinishedRequest& request);
  // Adapters in memory go by their path; those below `directory` are known by their name in it.
  void write(MetricText& text, const std::vector<ResidentAdapter>& residents, const std::string& directory) const;

 private:
  struct Counts {
    uint64_t requests = 0, prompt_tokens = 0, generated_tokens = 0;
    std::chrono::nanoseconds queued{}, inference{};
    void add(const Counts& more);
  };
  using Order = std::list<std::pair<std::string, Counts>>;  // used last comes first

  size_t max_series_;
  mutable std::mutex mutex_;
  Order order_;
  std::unordered_map<std::string, Order::iterator> series_;
  Counts base_, other_;
};

}  // namespace graft::serving::api
