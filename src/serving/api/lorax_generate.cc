// POST / and /invocations (stream or not, answer in an array), /generate, /generate_stream.

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "serving/api/caller.h"
#include "serving/api/characters.h"
#include "serving/api/generation_job.h"
#include "serving/api/native_format.h"
#include "serving/api/native_validation.h"
#include "serving/api/prompt.h"
#include "serving/api/response_format.h"
#include "serving/api/response_headers.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

// One request on its way, shared by its events.
struct Call {
  ContextPtr context;
  net::ResponseWriter writer;
  Timeline times;
  Caller caller;
  NativeRequest asked;
  NativePlan plan;

  Call(ContextPtr c, net::ResponseWriter w) : context(std::move(c)), writer(std::move(w)) {}

  [[nodiscard]] const NativeParameters& parameters() const { return asked.parameters; }
  // Of a merge: all its adapters.
  [[nodiscard]] AdapterLabel adapter() const {
    const std::string source = parameters().adapter_source.value_or("");
    if (!parameters().merged_adapters) return context->adapters.label(parameters().adapter_id.value_or(""), source);
    const std::vector<std::string>& ids = parameters().merged_adapters->ids;
    if (ids.empty()) return {};  // a request that is being refused for that
    return {join(ids, ","), context->adapters.label(ids.front(), source).source};
  }
  [[nodiscard]] std::string prefix() const { return parameters().return_full_text ? asked.inputs : ""; }
  [[nodiscard]] net::Headers headers() const {
    return start_headers(*context, count_characters(asked.inputs), adapter());
  }

  void count_success(const std::vector<GenerationResult>& results) const {
    const std::string name = adapter().id;
    context->metrics.request_finished(finished_request(times, results, name));
    if (!name.empty() && !parameters().merged_adapters) context->adapters.note_served(name);
  }
  void count_failure(const ApiError& error) const { context->metrics.request_failed(lorax_error_type(error.failure)); }
};
using CallPtr = std::shared_ptr<Call>;

void refuse(const Call& call, const ApiError& error) {
  call.count_failure(error);
  call.writer.send(lorax_response(error));
}

// best_of sequences of one plan, each with a seed of its own.
std::vector<GenerationRequest> sequences_of(const NativePlan& plan, std::vector<uint64_t>& seeds) {
  std::vector<GenerationRequest> requests(static_cast<size_t>(plan.best_of), plan.request);
  for (size_t i = 1; i < requests.size(); ++i) requests[i].sampling.seed = random_seed();
  for (const auto& request : requests) seeds.push_back(request.sampling.seed);
  return requests;
}

OrderedJson whole_answer(const Call& call, const std::vector<GenerationResult>& results,
                         const std::vector<uint64_t>& seeds) {
  std::vector<NativeSequence> ranked;
  for (size_t i = 0; i < results.size(); ++i) {
    ranked.push_back({&results[i], call.plan.sampling ? std::optional(seeds[i]) : std::nullopt});
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const NativeSequence& a, const NativeSequence& b) {
    return mean_logprob(*a.result) > mean_logprob(*b.result);
  });
  const NativeSequence best = ranked.front();
  ranked.erase(ranked.begin());
  OrderedJson answer{{"generated_text", call.prefix() + best.result->text}};
  if (call.parameters().details || call.parameters().decoder_input_details) {
    const bool alternatives = call.parameters().return_k_alternatives.has_value();
    answer["details"] = native_details(*call.context, best, ranked, call.prefix(), alternatives);
  }
  return answer;
}

void answer_whole(const CallPtr& call, bool in_array) {
  auto seeds = std::make_shared<std::vector<uint64_t>>();
  std::vector<GenerationRequest> requests = sequences_of(call->plan, *seeds);
  GenerationJob::Events events;
  events.on_done = [call, seeds, in_array](const std::vector<GenerationResult>& results) {
    OrderedJson answer = whole_answer(*call, results, *seeds);
    if (in_array) answer = OrderedJson::array({std::move(answer)});
    net::Response response = net::Response::json(200, to_text(answer));
    for (const auto& [name, value] : call->headers()) response.headers.add(name, value);
    add_finish_headers(response.headers, call->times, results);
    call->count_success(results);
    call->writer.send(std::move(response));
  };
  events.on_error = [call](const ApiError& error) { refuse(*call, error); };
  call->times.submitted = Timeline::Clock::now();
  GenerationJob::create(call->context, std::move(events))->submit(std::move(requests), call->writer, call->plan.merge);
}

// The event of a sequence's last token also carries the whole text, so a token that may be the last one waits for the
// next event; all others are sent at once.
class TokenStream {
 public:
  explicit TokenStream(CallPtr call) : call_(std::move(call)) {}

  void set_job(std::weak_ptr<GenerationJob> job) { job_ = std::move(job); }

  void on_token(const GeneratedToken& token) {
    flush();
    ++count_;
    tail_ += token.text;
    if (may_be_last(token)) {
      held_ = token;
    } else {
      send(token, nullptr, nullptr);
    }
  }

  void on_done(const std::vector<GenerationResult>& results) {
    const GenerationResult& result = results.front();
    GeneratedToken last;
    if (held_) {
      last = *held_;
    } else if (!result.tokens.empty()) {  // it has been sent: repeat its id, but no text
      last = result.tokens.back();
      last.text.clear();
    }
    const auto seed = call_->plan.sampling ? std::optional(call_->plan.request.sampling.seed) : std::nullopt;
    OrderedJson details;
    if (call_->parameters().details) details = native_stream_details(result, seed);
    call_->count_success(results);
    send(last, call_->prefix() + result.text, std::move(details));
    if (!cut_) call_->writer.end();
  }

  void on_error(const ApiError& error) {
    call_->count_failure(error);
    if (cut_) return;  // too slow: the connection is dropped, not ended
    flush();
    write(lorax_body(error));
    if (!cut_) call_->writer.end();
  }

 private:
  bool may_be_last(const GeneratedToken& token) {
    const auto& request = call_->plan.request;
    if (token.special || count_ >= request.max_new_tokens) return true;
    size_t longest = 0;
    bool stopped = false;
    for (const auto& stop : request.stop) {
      longest = std::max(longest, stop.size());
      stopped = stopped || tail_.find(stop) != std::string::npos;
    }
    if (!stopped && tail_.size() > longest) tail_.erase(0, tail_.size() - longest);
    return stopped;
  }

  void flush() {
    if (held_) send(*held_, nullptr, nullptr);
    held_.reset();
  }

  void send(const GeneratedToken& token, const OrderedJson& text, const OrderedJson& details) {
    const bool alternatives = call_->parameters().return_k_alternatives.has_value();
    write(to_text({{"token", native_token(*call_->context, token, alternatives)},
                   {"generated_text", text},
                   {"details", details}}));
  }

  void write(const std::string& payload) {
    if (cut_ || call_->writer.write(net::sse_event(payload)) != net::WriteState::kFull) return;
    cut_ = true;
    if (const auto job = job_.lock()) job->cancel();
  }

  CallPtr call_;
  std::weak_ptr<GenerationJob> job_;
  std::optional<GeneratedToken> held_;
  std::string tail_;  // the newest text, as much as a stop sequence may need
  int32_t count_ = 0;
  bool cut_ = false;
};

void begin_stream(const Call& call) {
  net::StreamHead head = net::StreamHead::sse(call.context->config.sse_heartbeat);
  for (const auto& [name, value] : call.headers()) head.headers.add(name, value);
  call.writer.begin(std::move(head));
}

void answer_stream(const CallPtr& call) {
  begin_stream(*call);
  auto stream = std::make_shared<TokenStream>(call);
  GenerationJob::Events events;
  events.on_token = [stream](size_t, const GeneratedToken& token) { stream->on_token(token); };
  events.on_done = [stream](const std::vector<GenerationResult>& results) { stream->on_done(results); };
  events.on_error = [stream](const ApiError& error) { stream->on_error(error); };
  const auto job = GenerationJob::create(call->context, std::move(events));
  stream->set_job(job);
  call->times.submitted = Timeline::Clock::now();
  job->submit({call->plan.request}, call->writer, call->plan.merge);
}

// As LoRAX: what is wrong with a request that asked for a stream is said in the stream.
void refuse_in_stream(const Call& call, const ApiError& error) {
  call.count_failure(error);
  begin_stream(call);
  if (call.writer.write(net::sse_event(lorax_body(error))) == net::WriteState::kOk) call.writer.end();
}

void answer(const CallPtr& call, bool streaming, bool in_array) {
  call->context->metrics.request_validated(static_cast<int32_t>(call->plan.request.prompt.size()),
                                           call->plan.request.max_new_tokens);
  if (streaming) {
    answer_stream(call);
  } else {
    answer_whole(call, in_array);
  }
}

enum class Mode { kWhole, kStream, kAsAsked };

void handle(const ContextPtr& context, Mode mode, const net::Request& request, const net::ResponseWriter& writer) {
  auto call = std::make_shared<Call>(context, writer);
  context->metrics.request_came();
  auto caller = caller_of(request.headers);
  if (!caller.ok()) return refuse(*call, caller.error());
  call->caller = std::move(caller).value();
  auto body = parse_body(request.body);
  if (!body.ok()) return refuse(*call, body.error());
  auto asked = parse_native(body.value(), request.body);
  if (!asked.ok()) return refuse(*call, asked.error());
  call->asked = std::move(asked).value();
  if (!call->asked.parameters.api_token) call->asked.parameters.api_token = call->caller.hub_token;
  const bool streaming = mode == Mode::kStream || (mode == Mode::kAsAsked && call->asked.stream);
  auto plan = plan_native(*context, call->asked, streaming);
  if (!plan.ok()) return streaming ? refuse_in_stream(*call, plan.error()) : refuse(*call, plan.error());
  call->plan = std::move(plan).value();
  call->caller.apply(call->plan.request);
  const auto& constraint = call->asked.parameters.constraint;
  compile_constraint(*context, constraint, "response_format",
                     [call, streaming, in_array = mode == Mode::kAsAsked](auto compiled) {
                       if (!compiled.ok())
                         return streaming ? refuse_in_stream(*call, compiled.error()) : refuse(*call, compiled.error());
                       call->plan.request.grammar = std::move(compiled).value();
                       answer(call, streaming, in_array);
                     });
}

}  // namespace

void add_lorax_generate_routes(net::Router& router, const ContextPtr& context) {
  const auto with = [&](Mode mode) {
    return [context, mode](const net::Request& request, const net::ResponseWriter& writer) {
      handle(context, mode, request, writer);
    };
  };
  router.add("POST", "/", with(Mode::kAsAsked));
  router.add("POST", "/invocations", with(Mode::kAsAsked));
  router.add("POST", "/generate", with(Mode::kWhole));
  router.add("POST", "/generate_stream", with(Mode::kStream));
}

}  // namespace graft::serving::api
