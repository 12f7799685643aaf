#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"
#include "runtime/sampling.h"
#include "runtime/step_model.h"
#include "serving/pooler.h"
#include "serving/scheduling.h"
#include "text/tokenizer.h"

namespace graft::serving {

// Which adapter a request wants. An adapter's identity is all of this: a private one is never found by its id alone.
struct AdapterRef {
  std::string id;                // empty: the base model; for "local" a PEFT directory
  std::string source = "local";  // local, hub, s3, pbase
  std::string api_token;
  bool operator==(const AdapterRef&) const = default;
};

struct GenerationRequest {
  std::vector<int32_t> prompt;
  int32_t max_new_tokens = 0;  // >= 1; 0 with `pooling`
  // The prompt's hidden states are wanted, not a continuation; kClassify needs an adapter with a head.
  Pooling pooling = Pooling::kNone;
  // End the output, in the middle of a token's text if need be; the text of the stop sequence is kept.
  std::vector<std::string> stop;
  bool ignore_eos = false;
  bool prompt_logprobs = false;
  bool logprobs = true;          // of the generated tokens; they cost an exponential for each token of the vocabulary
  int32_t num_alternatives = 0;  // most likely tokens to report beside each one; with logprobs only
  runtime::SamplingParams sampling;
  AdapterRef adapter;
  // Who asks; empty: nobody in particular. Tenants share no cached prefix, and scheduling is fair between them.
  std::string tenant;
  // From submit on, adapter load and queue included; then it ends with what it has. 0: the engine's limit alone.
  std::chrono::nanoseconds max_time{};
  // Restricts the output; null: anything goes. The output then ends where the grammar does, with an end token, which is
  // allowed as soon as the text is whole (ignore_eos has no effect), or with one of the reasons for which any output
  // ends. The finished text is not validated here.
  std::shared_ptr<const grammar::Grammar> grammar;
};

enum class FinishReason { kLength, kEos, kStopSequence, kDeadline };

struct GeneratedToken {
  int32_t id = 0;
  float logprob = 0;  // NaN without GenerationRequest::logprobs
  bool special = false;
  // What this token made certain, special tokens skipped; empty while a character is incomplete. All of them together
  // are GenerationResult::text.
  std::string text;
  std::vector<runtime::TokenLogprob> alternatives;
};

struct GenerationResult {
  FinishReason reason = FinishReason::kLength;
  int32_t prompt_tokens = 0;
  std::vector<runtime::TokenLogprob> prefill;  // with prompt_logprobs; the first one's logprob is NaN
  std::vector<GeneratedToken> tokens;
  std::vector<float> pooled;                                // with GenerationRequest::pooling
  std::shared_ptr<const runtime::ClassificationHead> head;  // that made it, with kClassify
  std::string text;                                         // all of it, special tokens skipped
  int32_t cached_tokens = 0;                                // of the prompt, found in the prefix cache
  // queued: from submit to the first step, adapter load included; inference: from there to the end;
  // time_to_first_token: from submit.
  std::chrono::nanoseconds queued{}, inference{}, time_to_first_token{};
};

// Receives one request's events in order, on the engine's thread: it must return at once and not throw (if it does, the
// request ends with on_error). It may call the engine. Exactly one of on_finish and on_error comes, last.
class GenerationSink {
 public:
  virtual ~GenerationSink() = default;
  virtual void on_token(const GeneratedToken& token) = 0;  // streaming
  virtual void on_finish(GenerationResult result) = 0;     // last event, or
  virtual void on_error(Error error) = 0;                  // last event
};

struct EngineLimits {
  int32_t max_concurrent_requests = 1024;  // waiting and running; more are refused as overloaded
  double max_tenant_share = 0.9;           // of these, for one tenant; not for requests that name none
  int32_t max_running = 256;               // sequences in a step
  int32_t max_step_tokens = 512;           // tokens in a step: decodes first, the rest goes to prefill chunks
  int32_t max_total_tokens = 0;            // prompt + output of one request; never more than the model and the cache
                                           // allow; 0: just that
  int32_t max_active_adapters = 1024;
  int64_t adapter_memory_bytes = 0;               // 0: no bound
  std::chrono::milliseconds adapter_cycle{2000};  // how long an adapter may stay while others wait for its place
  int32_t speculative_tokens = 0;                 // guessed at once from what the sequence holds already; 0: none
  int32_t speculation_max_running = 32;           // no guesses while more sequences run: they cost more than they save
  bool prefix_caching = true;                     // reuse the KV blocks of equal beginnings (same adapter)
  std::chrono::milliseconds stall_after{120000};  // a step that takes longer means unhealthy
  std::chrono::milliseconds max_request_time{};   // of every request, as GenerationRequest::max_time; 0: no limit
  Scheduling scheduling = Scheduling::kFair;
  std::map<std::string, double> tenant_weights;  // their shares of the machine beside each other; 1 where not named
};

// An adapter in memory.
struct ResidentAdapter {
  std::string id;
  int64_t bytes = 0;
  std::chrono::nanoseconds load_time{};
};

struct EngineStats {
  int32_t waiting = 0, running = 0;
  int32_t free_blocks = 0, total_blocks = 0;
  int32_t cached_blocks = 0;  // contents known to the prefix cache, in use or not; unused ones count as free
  int32_t loaded_adapters = 0;
  uint64_t steps = 0, failed_steps = 0, step_tokens = 0, generated_tokens = 0, preemptions = 0;
  uint64_t prefix_cached_tokens = 0;                     // prompt tokens that were not computed
  uint64_t drafted_tokens = 0, confirmed_tokens = 0;     // by speculation
  uint64_t step_sequences = 0;                           // of all steps
  uint64_t prefill_steps = 0, failed_prefill_steps = 0;  // steps with a part of a prompt in them
  uint64_t mixed_steps = 0;                              // those that decode as well
  int32_t block_size = 0;
  int32_t adapters_waiting = 0;  // sequences that wait for an adapter's load; counted in `waiting` too
  int64_t adapter_bytes = 0;     // of those loaded and those being loaded
  uint64_t adapter_loads = 0, adapter_evictions = 0, deadlines = 0, refused = 0;
  uint64_t cancels = 0;                                           // asked for
  std::chrono::nanoseconds step_time{}, prefill_time{};           // the model's, of all steps and of prefill steps
  std::shared_ptr<const std::vector<ResidentAdapter>> residents;  // least recently used first; null: none so far
};

using RequestId = uint64_t;

// Continuous batching over one StepModel, on two threads of its own:
// - the model thread owns every sequence and block; it plans steps, runs them, samples, detokenises and calls sinks. It
//   sleeps while there is nothing to do;
// - the loader thread reads adapters, one after the other, and destroys the ones that were dropped.
// Other threads only leave messages. A request's tokens and logprobs depend on nothing but the request, its adapter and
// the model: not on its neighbours, nor on chunks, preemption, the prefix cache or speculation.
// A step that fails or throws ends the requests that were in it, and no others.
class Engine {
 public:
  static std::unique_ptr<Engine> create(std::unique_ptr<runtime::StepModel> model,
                                        std::shared_ptr<const text::Tokenizer> tokenizer,
                                        std::vector<int32_t> eos_token_ids, EngineLimits limits);
  virtual ~Engine() = default;  // cancels what runs, then joins

  // Thread-safe, like everything here. Errors: overloaded (see retry_after); cancelled while the engine is being
  // destroyed; invalid for parameters out of range and for what can never fit; unsupported for adapter sources other
  // than "local". Everything later goes to the sink. An adapter's files are looked at now: if they have changed since
  // they were loaded, this and later requests get the new version.
  virtual Result<RequestId> submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink) = 0;
  virtual void cancel(RequestId id) = 0;  // the client went away; the sink gets on_error(kCancelled)
  [[nodiscard]] virtual EngineStats stats() const = 0;
  [[nodiscard]] virtual const EngineLimits& limits() const = 0;  // with max_total_tokens resolved
  [[nodiscard]] virtual bool healthy() const = 0;                // the model thread answers
  // When it makes sense to try again after `overloaded`: about the time that a request spends here now.
  [[nodiscard]] virtual std::chrono::seconds retry_after() const { return std::chrono::seconds(1); }

  // Makes in-memory adapter weights known under an id of source "local" (a training run's own adapter), ahead of any
  // directory of that name. Again with the same id: later requests get the new weights; null removes the id.
  virtual void add_adapter(const std::string& id, std::shared_ptr<const runtime::AdapterWeights> weights) = 0;
};

// submit and wait; `on_token`, where given, runs on the model thread. Not to be called from a sink.
Result<GenerationResult> generate(Engine& engine, GenerationRequest request,
                                  std::function<void(const GeneratedToken&)> on_token = {});

}  // namespace graft::serving
