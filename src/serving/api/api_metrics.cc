#include "serving/api/api_metrics.h"

#include <algorithm>
#include <array>
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

struct EngineCounter {
  const char* name;
  const char* help;
  uint64_t EngineStats::* value;
};

constexpr std::array<EngineCounter, 12> kEngineCounters{{
    {"graft_step_tokens", "Tokens that went through the model.", &EngineStats::step_tokens},
    {"graft_generated_tokens", "Tokens generated.", &EngineStats::generated_tokens},
    {"graft_prefix_cached_tokens", "Prompt tokens found in the prefix cache.", &EngineStats::prefix_cached_tokens},
    {"graft_drafted_tokens", "Tokens guessed by speculation.", &EngineStats::drafted_tokens},
    {"graft_confirmed_tokens", "Guesses that proved right.", &EngineStats::confirmed_tokens},
    {"graft_preemptions", "Sequences put back for want of memory.", &EngineStats::preemptions},
    {"graft_deadlines", "Requests that ended because their time was up.", &EngineStats::deadlines},
    {"graft_refused", "Requests refused because the queue, or their tenant's share of it, was full.",
     &EngineStats::refused},
    {"graft_cancels", "Sequences cancelled, most often because their client left.", &EngineStats::cancels},
    {"graft_adapter_loads", "Adapters loaded.", &EngineStats::adapter_loads},
    {"graft_adapter_evictions", "Adapters dropped for room or for a new version.", &EngineStats::adapter_evictions},
    {"lorax_batch_concat", "Steps in which newcomers joined sequences that were running.", &EngineStats::mixed_steps},
}};

void write_gauges(MetricText& text, const EngineStats& stats) {
  const auto gauge = [&](const char* name, const char* help, int64_t value) {
    text.family(name, "gauge", help);
    text.sample({}, static_cast<double>(value));
  };
  const int64_t used_blocks = stats.total_blocks - stats.free_blocks;
  gauge("lorax_batch_current_size", "Sequences that run.", stats.running);
  gauge("lorax_batch_current_max_tokens", "Tokens whose keys and values the running sequences hold room for.",
        used_blocks * stats.block_size);
  gauge("lorax_queue_length", "Sequences that wait.", stats.waiting);
  gauge("graft_adapter_queue_length", "Sequences that wait for an adapter to load.", stats.adapters_waiting);
  gauge("graft_kv_blocks_free", "Blocks of the KV cache nobody uses.", stats.free_blocks);
  gauge("graft_kv_blocks", "Blocks of the KV cache.", stats.total_blocks);
  gauge("graft_adapters_loaded", "Adapters in memory.", stats.loaded_adapters);
  gauge("graft_adapter_bytes", "Memory of adapters, those being loaded included.", stats.adapter_bytes);
}

// LoRAX's method: a step with any part of a prompt is a prefill here.
void write_steps(MetricText& text, const EngineStats& stats) {
  const net::MetricLabels prefill{{"method", "prefill"}};
  const net::MetricLabels decode{{"method", "decode"}};
  const auto by_method = [&](const char* name, const char* help, uint64_t prefills, uint64_t all) {
    text.family(name, "counter", help);
    text.sample(prefill, static_cast<double>(prefills));
    text.sample(decode, static_cast<double>(all - prefills));
  };
  by_method("lorax_batch_inference_count", "Steps of the model.", stats.prefill_steps, stats.steps);
  by_method("lorax_batch_inference_success", "Steps that succeeded.", stats.prefill_steps - stats.failed_prefill_steps,
            stats.steps - stats.failed_steps);
  by_method("lorax_batch_inference_failure", "Steps that failed.", stats.failed_prefill_steps, stats.failed_steps);
  text.family("lorax_batch_inference_duration", "summary", "Seconds of a step.");
  text.sample(prefill, seconds(stats.prefill_time), "_sum");
  text.sample(prefill, static_cast<double>(stats.prefill_steps), "_count");
  text.sample(decode, seconds(stats.step_time - stats.prefill_time), "_sum");
  text.sample(decode, static_cast<double>(stats.steps - stats.prefill_steps), "_count");
  text.family("lorax_batch_next_size", "summary", "Sequences of a step.");
  text.sample({}, static_cast<double>(stats.step_sequences), "_sum");
  text.sample({}, static_cast<double>(stats.steps), "_count");
}

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
      input_count_(registry_.histogram("lorax_request_input_count", "Inputs of a request.", kTokens)) {
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
  input_count_.observe(1);
  // Only adapters that worked get a series, so that junk names cannot use up the room.
  adapters_.finished(request);
}

std::string ApiMetrics::expose(const EngineStats& stats, const std::string& adapter_directory) {
  MetricText text;
  write_gauges(text, stats);
  write_steps(text, stats);
  for (const EngineCounter& counter : kEngineCounters) {
    text.family(counter.name, "counter", counter.help);
    text.sample({}, static_cast<double>(stats.*counter.value));
  }
  static const std::vector<ResidentAdapter> kNone;
  adapters_.write(text, stats.residents == nullptr ? kNone : *stats.residents, adapter_directory);
  return registry_.expose() + text.take();
}

}  // namespace graft::serving::api
