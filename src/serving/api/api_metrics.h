#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

#include "net/metrics.h"
#include "serving/api/adapter_metrics.h"
#include "serving/engine.h"

namespace graft::serving::api {

using Nanoseconds = std::chrono::nanoseconds;

// LoRAX's metric names, and our own (graft_*) for what it lacks: per-adapter counters and the KV cache.
class ApiMetrics {
 public:
  ApiMetrics();

  void request_came() const;
  void request_validated(int32_t prompt_tokens, int32_t max_new_tokens) const;
  void request_failed(std::string_view error_type) const;
  void request_finished(const FinishedRequest& request);

  // The text for a scrape, with the engine's numbers as they are now. Adapters below the directory go by their names.
  std::string expose(const EngineStats& stats, const std::string& adapter_directory);

 private:
  net::MetricsRegistry registry_;
  AdapterMetrics adapters_;
  net::CounterMetric count_, success_, failure_;
  net::HistogramMetric duration_, validation_duration_, queue_duration_, inference_duration_, time_per_token_;
  net::HistogramMetric generated_tokens_, input_length_, max_new_tokens_, skipped_tokens_, input_count_;
};

}  // namespace graft::serving::api
