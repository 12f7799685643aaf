#include "engine/engine_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>

#include "recipe/memory_plan.h"
#include "runtime/executor/executor.h"

namespace graft::engine {

namespace {

constexpr double kCacheFraction = 0.25;         // of the memory that is free, where nothing is asked for
constexpr int64_t kDefaultCacheTokens = 65536;  // and no more than this

constexpr int64_t kUnknownMemory = int64_t{4} << 30;  // what is assumed where the system does not say

bool kv_int8(const EngineOptions& options) { return options.kv_cache_dtype == "int8"; }

int64_t cache_tokens(const LoadedModel& model, const EngineOptions& options, int64_t memory) {
  if (options.max_batch_total_tokens > 0) return options.max_batch_total_tokens;
  const int64_t per_token =
      runtime::kv_bytes_per_token(model.decoder->spec(), model.decoder->dtype(), kv_int8(options));
  const auto affordable = static_cast<int64_t>(kCacheFraction * static_cast<double>(memory)) / per_token;
  return std::min(kDefaultCacheTokens, affordable);
}

Result<std::map<std::string, double>> parse_weights(const std::vector<std::string>& pairs) {
  std::map<std::string, double> weights;
  for (const std::string& pair : pairs) {
    const size_t equals = pair.rfind('=');
    const char* number = equals == std::string::npos ? "" : pair.c_str() + equals + 1;
    char* end = nullptr;
    const double weight = std::strtod(number, &end);
    if (equals == std::string::npos || *number == '\0' || *end != '\0' || !(weight > 0) || !std::isfinite(weight)) {
      return invalid(fmt::format("--tenant-weights {}: write NAME=NUMBER with a number over 0", pair));
    }
    weights[pair.substr(0, equals)] = weight;
  }
  return weights;
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(std::min(seconds, 1e9) * 1000));
}

}  // namespace

void EngineOptions::add_to(CLI::App& command) {
  command
      .add_option("--model,--model-id", model, "a name given by graft import, a Hugging Face directory or a .gguf file")
      ->envname("MODEL_ID")
      ->required();
  command.add_option("--dtype", dtype, "float32, bfloat16, or weights of 8 or 4 bits: int8, int4")
      ->envname("DTYPE")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8", "int4"}))
      ->capture_default_str();
  command
      .add_option("--kv-cache-dtype", kv_cache_dtype,
                  "auto: what the model computes in; int8: half the memory of bfloat16, slightly different results")
      ->envname("KV_CACHE_DTYPE")
      ->check(CLI::IsMember({"auto", "int8"}))
      ->capture_default_str();
  command.add_option("--threads", threads, "threads of the model; 0: all cores")->check(CLI::Range(0, 1024));
  command
      .add_option("--max-total-tokens", max_total_tokens, "prompt and output of one request; 0: what the model takes")
      ->envname("MAX_TOTAL_TOKENS")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--max-batch-total-tokens", max_batch_total_tokens,
                  "tokens that all requests together may hold in the KV cache; 0: by the memory that is free")
      ->envname("MAX_BATCH_TOTAL_TOKENS")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--max-batch-prefill-tokens", max_batch_prefill_tokens, "tokens of one step")
      ->envname("MAX_BATCH_PREFILL_TOKENS")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--max-concurrent-requests", max_concurrent_requests, "more than this are refused with 429")
      ->envname("MAX_CONCURRENT_REQUESTS")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--max-batch-size", max_batch_size, "sequences of one step")
      ->envname("MAX_BATCH_SIZE")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command
      .add_option("--speculative-tokens", speculative_tokens,
                  "guess so many tokens at once from what the prompt and the output hold already; the output stays the "
                  "same, and edits and extractions come several times faster; 0: none")
      ->envname("SPECULATIVE_TOKENS")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command
      .add_option("--speculation-max-batch-size", speculation_max_batch_size,
                  "no guesses while more sequences than this run")
      ->envname("SPECULATION_MAX_BATCH_SIZE")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command.add_option("--max-active-adapters", max_active_adapters, "adapters held in memory at once")
      ->envname("MAX_ACTIVE_ADAPTERS")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command.add_option("--adapter-memory-fraction", adapter_memory_fraction, "share of the free memory for adapters")
      ->envname("ADAPTER_MEMORY_FRACTION")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--adapter-cycle-time-s", adapter_cycle_time_s, "seconds that an adapter may stay while others wait")
      ->envname("ADAPTER_CYCLE_TIME_S")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_scheduling_to(command);
}

void EngineOptions::add_scheduling_to(CLI::App& command) {
  command
      .add_option("--scheduling", scheduling, "fair (between tenants and their adapters) or fcfs (in order of arrival)")
      ->envname("SCHEDULING")
      ->check(CLI::IsMember({"fair", "fcfs"}))
      ->capture_default_str();
  command.add_option("--tenant-weights", tenant_weights, "NAME=NUMBER,...: shares of tenants beside the others' 1")
      ->envname("TENANT_WEIGHTS")
      ->delimiter(',');
  command
      .add_option("--max-tenant-share", max_tenant_share,
                  "share of --max-concurrent-requests that one tenant may hold; not for requests without a tenant")
      ->envname("MAX_TENANT_SHARE")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--max-request-time-s", max_request_time_s,
                  "seconds after which a request ends with what it has; 0: no limit")
      ->envname("MAX_REQUEST_TIME_S")
      ->check(CLI::NonNegativeNumber);
}

Result<std::unique_ptr<serving::Engine>> start_engine(const LoadedModel& model, const EngineOptions& options) {
  const int64_t memory = recipe::available_memory().value_or(kUnknownMemory);
  const int64_t tokens = cache_tokens(model, options, memory);
  GRAFT_TRY(auto executor, runtime::make_executor(model.decoder, {tokens, kv_int8(options)}));
  serving::EngineLimits limits;
  limits.max_concurrent_requests = options.max_concurrent_requests;
  limits.max_running = options.max_batch_size;
  limits.max_step_tokens = std::max(options.max_batch_prefill_tokens, options.max_batch_size);
  limits.max_total_tokens = options.max_total_tokens;
  limits.speculative_tokens = options.speculative_tokens;
  limits.speculation_max_running = options.speculation_max_batch_size;
  limits.max_active_adapters = options.max_active_adapters;
  limits.adapter_memory_bytes = static_cast<int64_t>(options.adapter_memory_fraction * static_cast<double>(memory));
  limits.adapter_cycle = milliseconds(options.adapter_cycle_time_s);
  limits.scheduling =
      options.scheduling == "fcfs" ? serving::Scheduling::kFirstComeFirstServed : serving::Scheduling::kFair;
  limits.max_tenant_share = options.max_tenant_share;
  GRAFT_TRY(limits.tenant_weights, parse_weights(options.tenant_weights));
  limits.max_request_time = milliseconds(options.max_request_time_s);
  return serving::Engine::create(std::move(executor), model.tokenizer, model.decoder->spec().eos_token_ids, limits);
}

}  // namespace graft::engine
