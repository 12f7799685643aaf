#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

#include "net/metrics.h"
#include "serving/engine.h"

namespace graft::serving::api {

using Nanoseconds = std::chrono::nanoseconds;

struct FinishedRequest {
  std::string adapter;  // empty: the base model
  int32_t prompt_tokens = 0;
  int32_t generated_tokens = 0;
  Nanoseconds total{}, validation{}, queued{}, inference{};
};

// LoRAX's metric names, and our own (graft_*) for what it lacks: per-adapter counters and the KV cache.
class ApiMetrics {
 public:
  ApiMetrics();

  void request_came() const;
  void request_validated(int32_t prompt_tokens, int32_t max_new_tokens) const;
  void request_failed(std::string_view error_type) const;
  void request_finished(const FinishedRequest& request);

  // The text for a scrape, with the engine's numbers as they are now.
  std::string expose(const EngineStats& stats);

 private:
  void count_engine(const EngineStats& stats);

  net::MetricsRegistry registry_;
  net::LabelLimiter adapters_{256};
  net::CounterMetric count_, success_, failure_;
  net::HistogramMetric duration_, validation_duration_, queue_duration_, inference_duration_, time_per_token_;
  net::HistogramMetric generated_tokens_, input_length_, max_new_tokens_, skipped_tokens_;
  net::GaugeMetric batch_size_, queue_length_, free_blocks_, total_blocks_, loaded_adapters_;
  net::CounterMetric steps_, good_steps_, failed_steps_;
  net::CounterMetric step_tokens_, engine_tokens_, cached_tokens_, preemptions_;
  net::CounterMetric adapter_requests_, adapter_prompt_tokens_, adapter_generated_tokens_;
  std::mutex scrape_mutex_;
  EngineStats last_;  // at the previous scrape
};

}  // namespace graft::serving::api
