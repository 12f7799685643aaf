#include "serving/engine.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "runtime/kv_blocks.h"
#include "serving/adapter_loader.h"
#include "serving/adapter_pool.h"
#include "serving/admission.h"
#include "serving/request.h"
#include "serving/scheduler.h"

namespace graft::serving {
namespace {

constexpr int32_t kMaxPromptLogitRows = 128;  // at 150,000 ids: 77 MB

EngineLimits resolve(EngineLimits limits, const runtime::StepModelInfo& model) {
  const int64_t cache = static_cast<int64_t>(model.num_blocks) * model.block_size;
  const auto possible = static_cast<int32_t>(std::min({cache, model.max_position, int64_t{INT32_MAX}}));
  limits.max_total_tokens = limits.max_total_tokens > 0 ? std::min(limits.max_total_tokens, possible) : possible;
  limits.max_step_tokens = std::max(limits.max_step_tokens, 1);
  limits.max_running = std::clamp(limits.max_running, 1, limits.max_step_tokens);
  limits.max_concurrent_requests = std::max(limits.max_concurrent_requests, 1);
  limits.max_active_adapters = std::max(limits.max_active_adapters, 1);
  return limits;
}

// The sooner of the two limits; max() where there is none.
Clock::time_point deadline_of(Clock::time_point submitted, std::chrono::nanoseconds asked,
                              std::chrono::nanoseconds limit) {
  const std::chrono::nanoseconds time = asked.count() > 0 && limit.count() > 0 ? std::min(asked, limit) : asked + limit;
  if (time.count() <= 0 || time > Clock::time_point::max() - submitted) return Clock::time_point::max();
  return submitted + time;
}

std::shared_ptr<const std::vector<ResidentAdapter>> snapshot(const std::vector<const AdapterEntry*>& residents) {
  auto copy = std::make_shared<std::vector<ResidentAdapter>>();
  for (const AdapterEntry* entry : residents) {
    copy->push_back({entry->ref.id, entry->bytes, entry->ready_since - entry->load_began});
  }
  return copy;
}

// The token that follows the output and `drafts` of its drafts.
Result<runtime::SampledToken> sample_after(const Request& request, int32_t drafts, std::span<const float> logits,
                                           runtime::TokenMask mask) {
  const int32_t size = request.size() - request.drafted + drafts;
  const auto tokens = std::span<const int32_t>(request.tokens).first(static_cast<size_t>(size));
  const auto prompt_size = static_cast<size_t>(request.prompt_size);
  return runtime::sample(logits, request.params.sampling, tokens.first(prompt_size), tokens.subspan(prompt_size), size,
                         request.params.num_alternatives, request.params.logprobs, mask);
}

// With a grammar, what may follow a draft is known once the draft has been accepted: row by row, up to the first draft
// that is not what was sampled. The matcher then has accepted what becomes output.
void sample_within_grammar(Request& request, std::span<const float> rows,
                           std::vector<Result<runtime::SampledToken>>& samples) {
  const size_t vocab = rows.size() / samples.size();
  const auto drafts = std::span<const int32_t>(request.tokens).last(static_cast<size_t>(request.drafted));
  for (size_t row = 0; row < samples.size() && !request.matcher->ended(); ++row) {
    const auto mask = request.matcher->mask();
    if (!mask.ok()) {
      samples[row] = mask.error();
      return;
    }
    samples[row] = sample_after(request, static_cast<int32_t>(row), rows.subspan(row * vocab, vocab), *mask);
    if (!samples[row].ok()) return;
    const int32_t id = samples[row]->id;
    if (const Status accepted = request.matcher->accept(id); !accepted.ok()) {
      samples[row] = accepted.error();
      return;
    }
    if (row < drafts.size() && drafts[row] != id) return;
  }
}

size_t asked_rows(const PlannedSlice& slice) {
  switch (slice.logits) {
    case runtime::LogitRows::kAll:
      return static_cast<size_t>(slice.count);
    case runtime::LogitRows::kLast:
      return 1;
    case runtime::LogitRows::kNone:
      return 0;
  }
  return 0;
}

size_t logit_rows(const PlannedSlice& slice) { return slice.sequence->pooled ? 0 : asked_rows(slice); }

class EngineImpl final : public Engine {
 public:
  EngineImpl(std::unique_ptr<runtime::StepModel> model, std::shared_ptr<const text::Tokenizer> tokenizer,
             std::vector<int32_t> eos_token_ids, EngineLimits limits);
  ~EngineImpl() override;

  Result<RequestId> submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink) override;
  void cancel(RequestId id) override;
  [[nodiscard]] EngineStats stats() const override;
  [[nodiscard]] const EngineLimits& limits() const override { return limits_; }
  [[nodiscard]] bool healthy() const override;
  [[nodiscard]] std::chrono::seconds retry_after() const override;
  void add_adapter(const std::string& id, std::shared_ptr<const runtime::AdapterWeights> weights) override;

 private:
  // What other threads leave for the model thread.
  struct Messages {
    std::vector<std::unique_ptr<Request>> submitted;
    std::vector<RequestId> cancelled;
    std::vector<std::pair<uint64_t, LoadedAdapter>> loaded;
    [[nodiscard]] bool empty() const { return submitted.empty() && cancelled.empty() && loaded.empty(); }
  };
  struct NamedAdapter {
    uint64_t serial = 0;
    std::shared_ptr<const runtime::AdapterWeights> weights;
  };

  // On the model thread.
  void run();
  bool receive(Messages& messages);
  void turn(Messages& messages);
  void handle(Messages& messages);
  void begin(std::unique_ptr<Request>& request);
  void schedule(Request& request);
  void end_overdue();
  void update_adapters();
  void run_step();
  void count_step(size_t sequences, size_t decodes, std::chrono::nanoseconds time, bool succeeded);
  Result<std::span<const float>> forward(std::span<const PlannedSlice> plan, size_t& rows);
  using Samples =
      std::vector<Result<runtime::SampledToken>>;  // of one slice: the next token; of drafts, one for each more
  void speculate();
  std::vector<Samples> sample_rows(const std::vector<PlannedSlice>& plan, std::span<const float> logits) const;
  void accept(PlannedSlice slice, std::span<const float> logits, Samples samples);
  void accept_hidden(const PlannedSlice& slice, std::span<const float> hidden);
  int32_t check_drafts(Request& request, const Samples& samples);
  void fail_all(Messages& messages, const Error& error);
  bool collect_prompt_logprobs(Request& request, int32_t start, std::span<const float> logits);
  bool append_token(Request& request, Result<runtime::SampledToken> sampled);
  void finish(Request& request, FinishReason reason);
  void fail(Request& request, Error error);
  std::unique_ptr<Request> forget(Request& request);
  void publish_stats();

  const std::unique_ptr<runtime::StepModel> model_;
  const runtime::StepModelInfo info_;
  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  const std::vector<int32_t> eos_token_ids_;
  const EngineLimits limits_;

  mutable std::mutex mutex_;  // guards the members up to the blank line
  std::condition_variable wake_;
  Messages messages_;
  std::unordered_map<std::string, NamedAdapter> named_adapters_;
  RequestId last_id_ = 0;
  Admission admission_;  // counts the requests that have not had their last event
  uint64_t cancels_ = 0;
  bool stop_ = false;
  EngineStats stats_;

  std::atomic<uint64_t> adapter_serials_{0};
  std::atomic<Clock::rep> busy_since_{0};  // 0: sleeping

  // The model thread's own.
  const std::unique_ptr<SchedulingPolicy> policy_;
  runtime::BlockPool blocks_;
  Scheduler scheduler_;
  AdapterPool adapters_;
  std::unordered_map<RequestId, std::unique_ptr<Request>> live_;
  std::set<std::pair<Clock::time_point, RequestId>> deadlines_;  // of those that have one
  std::vector<runtime::SequenceSlice> slices_;
  EngineStats counts_;
  uint64_t published_adapters_ = 0;  // AdapterPool::changes() of counts_.residents

  AdapterLoader loader_;
  std::thread thread_;
};

EngineImpl::EngineImpl(std::unique_ptr<runtime::StepModel> model, std::shared_ptr<const text::Tokenizer> tokenizer,
                       std::vector<int32_t> eos_token_ids, EngineLimits limits)
    : model_(std::move(model)),
      info_(model_->info()),
      tokenizer_(std::move(tokenizer)),
      eos_token_ids_(std::move(eos_token_ids)),
      limits_(resolve(limits, info_)),
      admission_(limits_.max_concurrent_requests, limits_.max_tenant_share),
      policy_(make_policy(limits_.scheduling)),
      blocks_(info_.num_blocks, info_.block_size, limits_.prefix_caching),
      scheduler_({limits_.max_running, limits_.max_step_tokens, kMaxPromptLogitRows}, *policy_, blocks_),
      adapters_({limits_.max_active_adapters, limits_.adapter_memory_bytes, limits_.adapter_cycle}, adapter_serials_),
      loader_(*model_, [this](uint64_t serial, LoadedAdapter outcome) {
        {
          const std::lock_guard lock(mutex_);
          messages_.loaded.emplace_back(serial, std::move(outcome));
        }
        wake_.notify_one();
      }) {
  publish_stats();
  thread_ = std::thread([this] { run(); });
}

EngineImpl::~EngineImpl() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Result<RequestId> EngineImpl::submit(GenerationRequest request, std::shared_ptr<GenerationSink> sink) {
  if (sink == nullptr) return invalid("a request needs a sink");
  GRAFT_CHECK_OK(validate(request, info_.vocab_size, limits_.max_total_tokens));
  const AdapterRef adapter = request.adapter;
  auto pending = std::make_unique<Request>(0, std::move(request), std::move(sink), *tokenizer_, eos_token_ids_);
  // A file system may be slow: never under the lock, nor on the model thread.
  if (!adapter.id.empty()) pending->adapter_files = stat_adapter_files(adapter.id);
  if (limits_.speculative_tokens > 0) pending->speculation = std::make_unique<Speculation>(limits_.speculative_tokens);
  const std::string& tenant = pending->params.tenant;
  const auto weight = limits_.tenant_weights.find(tenant);
  if (weight != limits_.tenant_weights.end()) pending->weight = weight->second;
  pending->deadline = deadline_of(pending->submitted, pending->params.max_time, limits_.max_request_time);
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (stop_) return cancelled("the engine is shutting down");
    GRAFT_CHECK_OK(admission_.enter(tenant));
    if (const auto named = named_adapters_.find(adapter.id); !adapter.id.empty() && named != named_adapters_.end()) {
      pending->weights = named->second.weights;
      pending->scope.adapter = named->second.serial;
    }
    id = pending->id = pending->arrival = ++last_id_;
    messages_.submitted.push_back(std::move(pending));
  }
  wake_.notify_one();
  return id;
}

void EngineImpl::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    messages_.cancelled.push_back(id);
    ++cancels_;
  }
  wake_.notify_one();
}

EngineStats EngineImpl::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.refused = admission_.refused();
  stats.cancels = cancels_;
  stats.waiting += static_cast<int32_t>(messages_.submitted.size());
  return stats;
}

std::chrono::seconds EngineImpl::retry_after() const {
  const std::lock_guard lock(mutex_);
  return admission_.retry_after(Clock::now());
}

bool EngineImpl::healthy() const {
  const Clock::rep since = busy_since_.load();
  return since == 0 || Clock::now().time_since_epoch() - Clock::duration(since) < limits_.stall_after;
}

void EngineImpl::add_adapter(const std::string& id, std::shared_ptr<const runtime::AdapterWeights> weights) {
  NamedAdapter named{++adapter_serials_, std::move(weights)};
  const std::lock_guard lock(mutex_);
  if (named.weights == nullptr) {
    named_adapters_.erase(id);
  } else {
    std::swap(named_adapters_[id], named);  // the old weights go after the lock
  }
}

void EngineImpl::run() {
  Messages messages;
  while (receive(messages)) {
    try {
      turn(messages);
    } catch (const std::exception& error) {  // out of memory, most likely
      fail_all(messages, internal_error(std::string("the engine failed: ") + error.what()));
    }
    messages = {};
  }
  fail_all(messages, cancelled("the engine is shutting down"));
}

void EngineImpl::turn(Messages& messages) {
  handle(messages);
  end_overdue();
  update_adapters();
  run_step();
  publish_stats();
}

// Everybody gets a last event, those included that have not begun.
void EngineImpl::fail_all(Messages& messages, const Error& error) {
  while (!live_.empty()) fail(*live_.begin()->second, error);
  for (const auto& request : messages.submitted) {
    if (request == nullptr) continue;
    {
      const std::lock_guard lock(mutex_);
      admission_.leave(request->params.tenant, Clock::now());
    }
    request->send_error(error);
  }
}

// Sleeps until there is something to do; false: stop.
bool EngineImpl::receive(Messages& messages) {
  std::unique_lock lock(mutex_);
  if (scheduler_.idle() && adapters_.settled() && messages_.empty() && !stop_) {
    busy_since_ = 0;
    const auto woken = [this] { return stop_ || !messages_.empty(); };
    if (deadlines_.empty()) {
      wake_.wait(lock, woken);
    } else {
      wake_.wait_until(lock, deadlines_.begin()->first, woken);
    }
  }
  busy_since_ = Clock::now().time_since_epoch().count();
  std::swap(messages, messages_);
  return !stop_;
}

void EngineImpl::handle(Messages& messages) {
  for (auto& request : messages.submitted) begin(request);
  for (auto& [serial, outcome] : messages.loaded) adapters_.finish_load(serial, std::move(outcome));
  for (const RequestId id : messages.cancelled) {
    if (const auto found = live_.find(id); found != live_.end()) {
      fail(*found->second, cancelled("the request was cancelled"));
    }
  }
}

void EngineImpl::begin(std::unique_ptr<Request>& request) {
  Request& begun = *request;
  live_.emplace(begun.id, std::move(request));
  if (begun.deadline != Clock::time_point::max()) deadlines_.emplace(begun.deadline, begun.id);
  if (begun.params.adapter.id.empty() || begun.weights != nullptr) {
    schedule(begun);
  } else {
    adapters_.want(begun, begun.params.adapter, begun.adapter_files);
  }
}

// The request's weights are there.
void EngineImpl::schedule(Request& request) {
  if (request.pooled) {
    const runtime::ClassificationHead* head = nullptr;
    if (request.params.pooling == Pooling::kClassify) {
      head = request.weights == nullptr ? nullptr : request.weights->head();
      if (head == nullptr) {
        return fail(request, invalid("there is no classification head: name an adapter that was trained to classify"));
      }
    }
    request.pooler = std::make_unique<Pooler>(request.params.pooling, head);
    request.pools_every_row = request.pooler->every_row();
  }
  scheduler_.add(request);
}

void EngineImpl::end_overdue() {
  const Clock::time_point now = Clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    ++counts_.deadlines;
    finish(*live_.at(deadlines_.begin()->second), FinishReason::kDeadline);
  }
}

void EngineImpl::update_adapters() {
  AdapterPool::Events events = adapters_.advance(Clock::now());
  for (Sequence* sequence : events.ready) schedule(static_cast<Request&>(*sequence));
  for (auto& [sequence, error] : events.failed) fail(static_cast<Request&>(*sequence), std::move(error));
  for (const AdapterEntry* entry : events.load) loader_.load(entry->serial, entry->ref.id);
  loader_.destroy(std::move(events.unloaded));
  if (events.drain == nullptr) return;
  const auto waits_its_turn = [&](const Sequence& sequence) {
    return sequence.adapter == events.drain && sequence.arrival > events.drain_after;
  };
  for (Sequence* sequence : scheduler_.withdraw(waits_its_turn)) adapters_.take_back(*sequence);
}

// Guesses for the sequences that decode; the scheduler keeps as many as there is room for.
void EngineImpl::speculate() {
  if (limits_.speculative_tokens == 0 || scheduler_.running() > limits_.speculation_max_running) return;
  for (const auto& [id, request] : live_) {
    if (request->speculation == nullptr || !request->decoding()) continue;
    // The step itself gives one token more than the guesses.
    const int32_t limit = request->params.max_new_tokens - (request->size() - request->prompt_size) - 1;
    const std::vector<int32_t> guesses = request->speculation->propose(request->tokens, limit);
    request->tokens.insert(request->tokens.end(), guesses.begin(), guesses.end());
    request->drafted = static_cast<int32_t>(guesses.size());
  }
}

void EngineImpl::run_step() {
  speculate();
  const std::span<const PlannedSlice> planned = scheduler_.plan();
  if (planned.empty()) return;
  // Sinks may end requests while the plan is being worked through, and the next plan() overwrites it: own copy.
  const std::vector<PlannedSlice> plan(planned.begin(), planned.end());
  size_t rows = 0;
  const Clock::time_point began = Clock::now();
  const auto decodes = std::ranges::count_if(plan, [](const auto& slice) { return slice.sequence->decoding(); });
  const Result<std::span<const float>> logits = forward(plan, rows);
  count_step(plan.size(), static_cast<size_t>(decodes), Clock::now() - began, logits.ok());
  if (!logits.ok()) {
    for (const PlannedSlice& slice : plan) fail(static_cast<Request&>(*slice.sequence), logits.error());
    return;
  }
  const auto vocab = static_cast<size_t>(info_.vocab_size);
  std::vector<Samples> samples = sample_rows(plan, *logits);
  size_t row = 0;
  size_t hidden_row = 0;
  const auto width = static_cast<size_t>(info_.hidden_size);
  for (size_t i = 0; i < plan.size(); ++i) {
    const PlannedSlice& slice = plan[i];
    const size_t count = logit_rows(slice);
    const size_t hidden_count = slice.sequence->pooled ? asked_rows(slice) : 0;
    counts_.step_tokens += static_cast<uint64_t>(slice.count);
    const RequestId id = static_cast<const Request&>(*slice.sequence).id;
    try {
      if (slice.sequence->pooled) {
        accept_hidden(slice, model_->hidden().subspan(hidden_row * width, hidden_count * width));
      } else {
        accept(slice, logits->subspan(row * vocab, count * vocab), std::move(samples[i]));
      }
    } catch (const std::exception& error) {
      const auto found = live_.find(id);
      if (found != live_.end()) fail(*found->second, internal_error(std::string("the engine failed: ") + error.what()));
    }
    row += count;
    hidden_row += hidden_count;
  }
}

void EngineImpl::count_step(size_t sequences, size_t decodes, std::chrono::nanoseconds time, bool succeeded) {
  const uint64_t prefill = decodes < sequences ? 1 : 0;
  const uint64_t failed = succeeded ? 0 : 1;
  ++counts_.steps;
  counts_.step_sequences += sequences;
  counts_.step_time += time;
  counts_.failed_steps += failed;
  counts_.prefill_steps += prefill;
  counts_.failed_prefill_steps += prefill * failed;
  if (prefill > 0) counts_.prefill_time += time;
  if (prefill > 0 && decodes > 0) ++counts_.mixed_steps;
}

// The next token of every slice that reaches its sequence's end, and of those with drafts the token after each draft: a
// pure function of the logits and the request, for all of them at once. Grammars' masks are made here as well, spread
// over the cores that the step has just left.
std::vector<EngineImpl::Samples> EngineImpl::sample_rows(const std::vector<PlannedSlice>& plan,
                                                         std::span<const float> logits) const {
  struct Work {
    size_t slice;
    int32_t draft;                  // how many of the drafts come before
    std::span<const float> logits;  // of that row; with a grammar, of all rows
  };
  const auto vocab = static_cast<size_t>(info_.vocab_size);
  std::vector<Work> work;
  std::vector<Samples> samples(plan.size());
  size_t row = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    const auto& request = static_cast<const Request&>(*plan[i].sequence);
    row += logit_rows(plan[i]);
    if (logit_rows(plan[i]) == 0 || plan[i].count < request.pending()) continue;
    const auto rows = static_cast<size_t>(request.drafted) + 1;
    samples[i].assign(rows, internal_error("not sampled"));
    const std::span<const float> last_rows = logits.subspan((row - rows) * vocab, rows * vocab);
    if (request.matcher != nullptr) work.push_back({i, 0, last_rows});
    for (size_t draft = 0; request.matcher == nullptr && draft < rows; ++draft) {
      work.push_back({i, static_cast<int32_t>(draft), last_rows.subspan(draft * vocab, vocab)});
    }
  }
  model_->for_each(static_cast<int64_t>(work.size()), [&](int64_t task) {
    const Work& one = work[static_cast<size_t>(task)];
    auto& request = static_cast<Request&>(*plan[one.slice].sequence);
    try {
      if (request.matcher != nullptr) {
        sample_within_grammar(request, one.logits, samples[one.slice]);
      } else {
        samples[one.slice][static_cast<size_t>(one.draft)] = sample_after(request, one.draft, one.logits, {});
      }
    } catch (const std::exception& error) {
      samples[one.slice][static_cast<size_t>(one.draft)] =
          internal_error(std::string("sampling failed: ") + error.what());
    }
  });
  return samples;
}

Result<std::span<const float>> EngineImpl::forward(std::span<const PlannedSlice> plan, size_t& rows) {
  slices_.clear();
  size_t hidden_rows = 0;
  const Clock::time_point now = Clock::now();
  for (const PlannedSlice& slice : plan) {
    auto& request = static_cast<Request&>(*slice.sequence);
    if (request.first_step == Clock::time_point()) {
      request.first_step = now;
      counts_.prefix_cached_tokens += static_cast<uint64_t>(request.cached_tokens);
    }
    slices_.push_back({std::span<const int32_t>(request.tokens)
                           .subspan(static_cast<size_t>(request.computed), static_cast<size_t>(slice.count)),
                       request.computed, request.blocks.ids(), request.weights.get(), slice.logits, request.pooled});
    rows += logit_rows(slice);
    if (request.pooled) hidden_rows += asked_rows(slice);
  }
  try {
    Result<std::span<const float>> logits = model_->step(slices_);
    if (logits.ok() && logits->size() != rows * static_cast<size_t>(info_.vocab_size)) {
      return internal_error("the model returned " + std::to_string(logits->size()) + " logits for " +
                            std::to_string(rows) + " rows");
    }
    if (logits.ok() && model_->hidden().size() < hidden_rows * static_cast<size_t>(info_.hidden_size)) {
      return unsupported("this model does not give hidden states");
    }
    return logits;
  } catch (const std::exception& error) {
    return internal_error(std::string("the model failed: ") + error.what());
  } catch (...) {
    return internal_error("the model failed");
  }
}

void EngineImpl::accept(PlannedSlice slice, std::span<const float> logits, Samples samples) {
  auto& request = static_cast<Request&>(*slice.sequence);
  const int32_t start = request.computed;
  const bool speculative = request.drafted > 0;
  if (speculative) slice.count = 1 + check_drafts(request, samples);
  scheduler_.commit(slice);
  if (speculative) {
    samples.erase(samples.begin() + slice.count, samples.end());
    request.drop_drafts();  // they come again, as output
  } else if (slice.logits == runtime::LogitRows::kAll && !collect_prompt_logprobs(request, start, logits)) {
    return;
  }
  for (Result<runtime::SampledToken>& sampled : samples) {
    if (!append_token(request, std::move(sampled))) return;
  }
}

// A part of a prompt whose hidden states are pooled; its last part ends the request.
void EngineImpl::accept_hidden(const PlannedSlice& slice, std::span<const float> hidden) {
  auto& request = static_cast<Request&>(*slice.sequence);
  const int32_t start = request.computed;
  scheduler_.commit(slice);
  if (slice.logits != runtime::LogitRows::kNone) {
    const auto rows = static_cast<int32_t>(asked_rows(slice));
    request.pooler->add(start + slice.count - rows, hidden, static_cast<size_t>(info_.hidden_size));
  }
  if (request.pending() == 0) finish(request, FinishReason::kLength);
}

// Keeps the drafts that proved right, and says how many.
int32_t EngineImpl::check_drafts(Request& request, const Samples& samples) {
  const int32_t drafted = request.drafted;
  const int32_t right = confirmed(std::span<const int32_t>(request.tokens).last(static_cast<size_t>(drafted)), samples);
  request.drop_drafts(right);
  request.speculation->learn(drafted, right);
  counts_.drafted_tokens += static_cast<uint64_t>(drafted);
  counts_.confirmed_tokens += static_cast<uint64_t>(right);
  return right;
}

// false: the request failed.
bool EngineImpl::collect_prompt_logprobs(Request& request, int32_t start, std::span<const float> logits) {
  const auto vocab = static_cast<size_t>(info_.vocab_size);
  for (size_t row = 0; row < logits.size() / vocab; ++row) {
    const int32_t predicted = start + static_cast<int32_t>(row) + 1;
    if (predicted < request.prompt_logprobs || predicted >= request.prompt_size) continue;
    const int32_t token = request.tokens[static_cast<size_t>(predicted)];
    const float logprob = runtime::logprob_of(logits.subspan(row * vocab, vocab), token);
    if (std::isnan(logprob)) {
      fail(request, internal_error("the model's logits are not finite at prompt token " + std::to_string(predicted) +
                                   "; check the weights of the model and the adapter"));
      return false;
    }
    request.prefill.push_back({token, logprob});
    ++request.prompt_logprobs;
  }
  return true;
}

// false: the request has ended.
bool EngineImpl::append_token(Request& request, Result<runtime::SampledToken> sampled) {
  if (!sampled.ok()) {
    fail(request, sampled.error());
    return false;
  }
  if (request.first_token == Clock::time_point()) request.first_token = Clock::now();
  ++counts_.generated_tokens;
  request.tokens.push_back(sampled->id);
  const auto reason = request.output.push(std::move(*sampled));
  if (!request.send_token(request.output.tokens().back())) {
    fail(request, internal_error("the receiver of the tokens failed"));
    return false;
  }
  if (reason) finish(request, *reason);
  return !reason;
}

void EngineImpl::finish(Request& request, FinishReason reason) {
  std::shared_ptr<const runtime::ClassificationHead> head;
  if (request.params.pooling == Pooling::kClassify && request.weights != nullptr) {
    head = {request.weights, request.weights->head()};  // the adapter lives as long as its head is looked at
  }
  const std::unique_ptr<Request> finished = forget(request);
  GenerationResult result;
  result.reason = reason;
  result.prompt_tokens = finished->prompt_size;
  result.cached_tokens = finished->cached_tokens;
  result.prefill = std::move(finished->prefill);
  result.tokens = finished->output.take_tokens();
  if (finished->pooler != nullptr && reason != FinishReason::kDeadline) result.pooled = finished->pooler->result();
  result.head = std::move(head);
  result.text = finished->output.take_text();
  // A deadline may come before the first step and the first token.
  const Clock::time_point now = Clock::now();
  const auto at_most_now = [now](Clock::time_point time) { return time == Clock::time_point() ? now : time; };
  result.queued = at_most_now(finished->first_step) - finished->submitted;
  result.inference = now - at_most_now(finished->first_step);
  result.time_to_first_token = at_most_now(finished->first_token) - finished->submitted;
  finished->send_result(std::move(result));
}

void EngineImpl::fail(Request& request, Error error) { forget(request)->send_error(std::move(error)); }

// Frees what the request holds before its last event, so that whoever gets it can submit the next one at once.
std::unique_ptr<Request> EngineImpl::forget(Request& request) {
  scheduler_.remove(request);
  adapters_.release(request);
  request.weights = nullptr;
  deadlines_.erase({request.deadline, request.id});
  auto node = live_.extract(request.id);
  publish_stats();
  const std::lock_guard lock(mutex_);
  admission_.leave(request.params.tenant, Clock::now());
  return std::move(node.mapped());
}

void EngineImpl::publish_stats() {
  counts_.waiting = scheduler_.waiting() + adapters_.waiting();
  counts_.running = scheduler_.running();
  counts_.free_blocks = blocks_.available();
  counts_.total_blocks = blocks_.num_blocks();
  counts_.block_size = blocks_.block_size();
  counts_.cached_blocks = blocks_.cached();
  counts_.loaded_adapters = adapters_.loaded();
  counts_.preemptions = scheduler_.preemptions();
  counts_.adapters_waiting = adapters_.waiting();
  counts_.adapter_bytes = adapters_.bytes();
  counts_.adapter_loads = adapters_.loads();
  counts_.adapter_evictions = adapters_.evictions();
  if (published_adapters_ != adapters_.changes()) {
    published_adapters_ = adapters_.changes();
    counts_.residents = snapshot(adapters_.residents());
  }
  const std::lock_guard lock(mutex_);
  stats_ = counts_;
}

}  // namespace

std::unique_ptr<Engine> Engine::create(std::unique_ptr<runtime::StepModel> model,
                                       std::shared_ptr<const text::Tokenizer> tokenizer,
                                       std::vector<int32_t> eos_token_ids, EngineLimits limits) {
  return std::make_unique<EngineImpl>(std::move(model), std::move(tokenizer), std::move(eos_token_ids), limits);
}

}  // namespace graft::serving
