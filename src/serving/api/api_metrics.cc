#include "serving/api/api_metrics.h"

#include <algorithm>
#include <vector>

namespace graft::serving::api {
namespace {

std::vector<double> exponential(double first, double factor, int count) {
  std::vector<double> bounds;
  for (double bound = first; count > 0; --count, bound *= factor) bounds.push_back(bound);
  return bounds;
}

const std::vector<double> kSeconds = exponential(0.0001, 1.5, 36);  // 0.1 ms to about 2.5 minutes
const std::vector<double> kTokens = exponential(1, 2, 18);          // 1 to 131072

double seconds(Nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

// A counter that was reset (a new engine) starts again from nothing.
double growth(uint64_t now, uint64_t before) { return static_cast<double>(now >= before ? now - before : now); }

}  // namespace

ApiMetrics::ApiMetrics()
    : count_(registry_.counter("lorax_request_count", "Requests that came in.")),
      success_(registry_.counter("lorax_request_success", "Requests answered whole.")),
      failure_(registry_.counter("lorax_request_failure", "Requests that failed, by error type.")),
      duration_(registry_.histogram("lorax_request_duration", "Seconds from request to answer.", kSeconds)),
      validation_duration_(
          registry_.histogram("lorax_request_validation_duration", "Seconds of parsing and tokenising.", kSeconds)),
      queue_duration_(registry_.histogram("lorax_request_queue_duration", "Seconds before the first step.", kSeconds)),
      inference_duration_(
          registry_.histogram("lorax_request_inference_duration", "Seconds from first step to end.", kSeconds)),
      time_per_token_(registry_.histogram("lorax_request_mean_time_per_token_duration",
                                          "Seconds of inference per generated token.", kSeconds)),
      generated_tokens_(registry_.histogram("lorax_request_generated_tokens", "Tokens generated.", kTokens)),
      input_length_(registry_.histogram("lorax_request_input_length", "Tokens of the prompt.", kTokens)),
      max_new_tokens_(registry_.histogram("lorax_request_max_new_tokens", "Most tokens to generate.", kTokens)),
      skipped_tokens_(registry_.histogram("lorax_request_skipped_tokens", "Tokens speculation saved.", kTokens)),
      batch_size_(registry_.gauge("lorax_batch_current_size", "Sequences that run.")),
      queue_length_(registry_.gauge("lorax_queue_length", "Sequences that wait.")),
      free_blocks_(registry_.gauge("graft_kv_blocks_free", "Blocks of the KV cache nobody uses.")),
      total_blocks_(registry_.gauge("graft_kv_blocks", "Blocks of the KV cache.")),
      loaded_adapters_(registry_.gauge("graft_adapters_loaded", "Adapters in memory.")),
      steps_(registry_.counter("lorax_batch_inference_count", "Steps of the model.")),
      good_steps_(registry_.counter("lorax_batch_inference_success", "Steps that succeeded.")),
      failed_steps_(registry_.counter("lorax_batch_inference_failure", "Steps that failed.")),
      step_tokens_(registry_.counter("graft_step_tokens", "Tokens that went through the model.")),
      engine_tokens_(registry_.counter("graft_generated_tokens", "Tokens generated.")),
      cached_tokens_(registry_.counter("graft_prefix_cached_tokens", "Prompt tokens found in the prefix cache.")),
      preemptions_(registry_.counter("graft_preemptions", "Sequences put back for want of memory.")),
      adapter_requests_(registry_.counter("graft_adapter_requests", "Requests answered, by adapter.")),
      adapter_prompt_tokens_(registry_.counter("graft_adapter_prompt_tokens", "Prompt tokens, by adapter.")),
      adapter_generated_tokens_(registry_.counter("graft_adapter_generated_tokens", "Generated tokens, by adapter.")) {
  count_.add(0);
  success_.add(0);
}

void ApiMetrics::request_came() const { count_.add(); }

void ApiMetrics::request_validated(int32_t prompt_tokens, int32_t max_new_tokens) const {
  input_length_.observe(prompt_tokens);
  max_new_tokens_.observe(max_new_tokens);
}

void ApiMetrics::request_failed(std::string_view error_type) const {
  failure_.add(1, {{"err", std::string(error_type)}});
}

void ApiMetrics::request_finished(const FinishedRequest& request) {
  success_.add();
  duration_.observe(seconds(request.total));
  validation_duration_.observe(seconds(request.validation));
  queue_duration_.observe(seconds(request.queued));
  inference_duration_.observe(seconds(request.inference));
  time_per_token_.observe(seconds(request.inference) / std::max(1, request.generated_tokens));
  generated_tokens_.observe(request.generated_tokens);
  skipped_tokens_.observe(0);
  // Only adapters that worked get a series, so that junk names cannot use up the room.
  const net::MetricLabels labels{{"adapter", request.adapter.empty() ? "" : adapters_.admit(request.adapter)}};
  adapter_requests_.add(1, labels);
  adapter_prompt_tokens_.add(request.prompt_tokens, labels);
  adapter_generated_tokens_.add(request.generated_tokens, labels);
}

void ApiMetrics::count_engine(const EngineStats& stats) {
  steps_.add(growth(stats.steps, last_.steps));
  failed_steps_.add(growth(stats.failed_steps, last_.failed_steps));
  good_steps_.add(growth(stats.steps - stats.failed_steps, last_.steps - last_.failed_steps));
  cached_tokens_.add(growth(stats.prefix_cached_tokens, last_.prefix_cached_tokens));
  step_tokens_.add(growth(stats.step_tokens, last_.step_tokens));
  engine_tokens_.add(growth(stats.generated_tokens, last_.generated_tokens));
  preemptions_.add(growth(stats.preemptions, last_.preemptions));
  last_ = stats;
}

std::string ApiMetrics::expose(const EngineStats& stats) {
  const std::lock_guard lock(scrape_mutex_);
  count_engine(stats);
  batch_size_.set(stats.running);
  queue_length_.set(stats.waiting);
  free_blocks_.set(stats.free_blocks);
  total_blocks_.set(stats.total_blocks);
  loaded_adapters_.set(stats.loaded_adapters);
  return registry_.expose();
}

}  // namespace graft::serving::api
