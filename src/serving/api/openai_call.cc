#include "serving/api/openai_call.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "serving/api/generation_job.h"
#include "serving/api/native_format.h"
#include "serving/api/prompt.h"
#include "serving/api/response_format.h"

namespace graft::serving::api {
namespace {

using CallPtr = std::shared_ptr<OpenAiCall>;

// A stream's header waits this long for the first token, so that an adapter that cannot be loaded is an HTTP status.
constexpr std::chrono::seconds kHoldHeader{10};

AdapterLabel adapter_of(const OpenAiCall& call) {
  return call.context->adapters.label(call.asked.model, call.asked.adapter_source);
}

void count_success(const OpenAiCall& call, const std::vector<GenerationResult>& results) {
  const std::string adapter = adapter_of(call).id;
  call.context->metrics.request_finished(finished_request(call.times, results, adapter));
  if (!adapter.empty()) call.context->adapters.note_served(adapter);
}

// The fields that all objects of one answer share.
OrderedJson envelope(const OpenAiCall& call, bool stream) {
  const std::string model = call.asked.model.empty() ? call.context->config.model_id : call.asked.model;
  return {{"id", fmt::format("{}{:016x}{:08x}", call.format->id_prefix(), random_seed(), random_seed() >> 32U)},
          {"object", call.format->object_name(stream)},
          {"created", static_cast<int64_t>(std::time(nullptr))},
          {"model", model},
          {"system_fingerprint", "graft-" + call.context->config.version}};
}

std::string_view reason_name(const GenerationResult& result, bool stopped) {
  const bool cut = result.reason == FinishReason::kLength || result.reason == FinishReason::kDeadline;
  return stopped || !cut ? "stop" : "length";
}

OrderedJson usage_json(int64_t prompt, int64_t completion) {
  return {{"prompt_tokens", prompt}, {"completion_tokens", completion}, {"total_tokens", prompt + completion}};
}

// Every prompt is counted once, however many sequences it has.
OrderedJson usage_of(const OpenAiCall& call, const std::vector<GenerationResult>& results) {
  int64_t prompt = 0;
  int64_t completion = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    if (i % call.best_of == 0) prompt += results[i].prompt_tokens;
    completion += static_cast<int64_t>(results[i].tokens.size());
  }
  return usage_json(prompt, completion);
}

void drop_output(const OpenAiCall& call, GenerationResult& result) {
  if (!call.drop_output) return;
  result.tokens.clear();
  result.text.clear();
  result.reason = FinishReason::kLength;
}

// Calls of functions are found in the text, so their special tokens have to be in it.
GeneratedToken shown(const OpenAiCall& call, const GeneratedToken& token) {
  return call.format->tools() == nullptr ? token : with_marker(*call.context->tokenizer, token);
}

OrderedJson whole_choice(const OpenAiCall& call, size_t index, const GenerationResult& result) {
  ChoiceText text(call.asked.stop, call.format->wants_logprobs());
  ChoicePiece all;
  for (const auto& token : result.tokens) all.append(text.push(shown(call, token)));
  all.append(text.finish(result));
  return call.format->whole(index, all, reason_name(result, text.stopped()), result);
}

// The best `n` of each prompt's sequences, best first where there is a choice to make.
std::vector<const GenerationResult*> chosen(const OpenAiCall& call, const std::vector<GenerationResult>& results) {
  std::vector<const GenerationResult*> out;
  const auto n = static_cast<size_t>(call.asked.choices);
  for (size_t first = 0; first < results.size(); first += call.best_of) {
    std::vector<const GenerationResult*> group;
    for (size_t i = first; i < first + call.best_of; ++i) group.push_back(&results[i]);
    if (group.size() > n) {
      std::stable_sort(group.begin(), group.end(), [](const GenerationResult* a, const GenerationResult* b) {
        return mean_logprob(*a) > mean_logprob(*b);
      });
    }
    out.insert(out.end(), group.begin(), group.begin() + static_cast<std::ptrdiff_t>(std::min(n, group.size())));
  }
  return out;
}

void answer_whole(const CallPtr& call) {
  GenerationJob::Events events;
  events.on_done = [call](std::vector<GenerationResult> results) {
    for (auto& result : results) drop_output(*call, result);
    OrderedJson choices = OrderedJson::array();
    for (const GenerationResult* result : chosen(*call, results)) {
      choices.push_back(whole_choice(*call, choices.size(), *result));
    }
    OrderedJson answer = envelope(*call, false);
    answer["choices"] = std::move(choices);
    answer["usage"] = usage_of(*call, results);
    net::Response response = net::Response::json(200, to_text(answer));
    for (const auto& [name, value] : start_headers(*call->context, call->characters, adapter_of(*call))) {
      response.headers.add(name, value);
    }
    add_finish_headers(response.headers, call->times, results);
    count_success(*call, results);
    call->writer.send(std::move(response));
  };
  events.on_error = [call](const ApiError& error) { refuse(*call, error); };
  GenerationJob::create(call->context, std::move(events))->submit(std::move(call->requests), call->writer);
}

class ChunkStream {
 public:
  explicit ChunkStream(CallPtr call)
      : call_(std::move(call)),
        head_(envelope(*call_, true)),
        texts_(call_->requests.size(), ChoiceText(call_->asked.stop, call_->format->wants_logprobs())),
        opened_(call_->requests.size(), false) {
    if (const ToolUse* use = call_->format->tools()) tools_.assign(call_->requests.size(), ToolDeltas(*use));
  }

  void set_job(std::weak_ptr<GenerationJob> job) { job_ = std::move(job); }

  void on_token(size_t index, const GeneratedToken& token) {
    if (call_->drop_output) return;
    const ChoicePiece piece = texts_[index].push(shown(*call_, token));
    open(index);
    send_piece(index, piece);
  }

  void on_finish(size_t index, GenerationResult result) {
    drop_output(*call_, result);
    open(index);
    const ChoicePiece rest = texts_[index].finish(result);
    send_piece(index, rest);
    std::string_view reason = reason_name(result, texts_[index].stopped());
    if (!tools_.empty()) {
      for (OrderedJson& delta : tools_[index].finish()) send(call_->format->delta_with(index, std::move(delta), {}));
      if (reason == "stop" && tools_[index].called()) reason = "tool_calls";
    }
    send(call_->format->delta(index, {}, OrderedJson(reason)));
  }

  void on_done(std::vector<GenerationResult> results) {
    for (auto& result : results) drop_output(*call_, result);
    if (call_->asked.include_usage) {
      OrderedJson chunk = head_;
      chunk["choices"] = OrderedJson::array();
      chunk["usage"] = usage_of(*call_, results);
      write(to_text(chunk));
    }
    count_success(*call_, results);
    write("[DONE]");
    if (!cut_) call_->writer.end();
  }

  void on_error(const ApiError& error) {
    call_->context->metrics.request_failed(lorax_error_type(error.failure));
    if (cut_ || call_->writer.send(openai_response(error))) return;
    write(openai_body(error));
    if (!cut_) call_->writer.end();
  }

 private:
  void open(size_t index) {
    if (opened_[index]) return;
    opened_[index] = true;
    OrderedJson choice = call_->format->opening(index);
    if (!choice.is_null()) send(std::move(choice));
  }

  void send_piece(size_t index, const ChoicePiece& piece) {
    if (tools_.empty()) {
      if (!piece.text.empty() || !piece.tokens.empty()) send(call_->format->delta(index, piece, nullptr));
      return;
    }
    const ChoicePiece* tokens = &piece;  // are told with the first delta that they made
    for (OrderedJson& delta : tools_[index].push(piece.text)) {
      send(call_->format->delta_with(index, std::move(delta), tokens == nullptr ? ChoicePiece{} : *tokens));
      tokens = nullptr;
    }
  }

  void send(OrderedJson choice) {
    OrderedJson chunk = head_;
    chunk["choices"] = OrderedJson::array({std::move(choice)});
    if (call_->asked.include_usage) chunk["usage"] = nullptr;
    write(to_text(chunk));
  }

  // A client that reads too slowly is cut: the engine does not wait for it.
  void write(const std::string& payload) {
    if (cut_ || call_->writer.write(net::sse_event(payload)) != net::WriteState::kFull) return;
    cut_ = true;
    if (const auto job = job_.lock()) job->cancel();
  }

  CallPtr call_;
  OrderedJson head_;
  std::vector<ChoiceText> texts_;
  std::vector<bool> opened_;
  std::vector<ToolDeltas> tools_;  // empty: no tools
  std::weak_ptr<GenerationJob> job_;
  bool cut_ = false;
};

void answer_stream(const CallPtr& call) {
  net::StreamHead head = net::StreamHead::sse(call->context->config.sse_heartbeat);
  head.hold = kHoldHeader;
  for (const auto& [name, value] : start_headers(*call->context, call->characters, adapter_of(*call))) {
    head.headers.add(name, value);
  }
  call->writer.begin(std::move(head));
  auto stream = std::make_shared<ChunkStream>(call);
  GenerationJob::Events events;
  events.on_token = [stream](size_t index, const GeneratedToken& token) { stream->on_token(index, token); };
  events.on_finish = [stream](size_t index, const GenerationResult& result) { stream->on_finish(index, result); };
  events.on_done = [stream](std::vector<GenerationResult> results) { stream->on_done(std::move(results)); };
  events.on_error = [stream](const ApiError& error) { stream->on_error(error); };
  const auto job = GenerationJob::create(call->context, std::move(events));
  stream->set_job(job);
  job->submit(std::move(call->requests), call->writer);
}

void run_compiled(const CallPtr& call) {
  for (const auto& request : call->requests) {
    call->context->metrics.request_validated(static_cast<int32_t>(request.prompt.size()), request.max_new_tokens);
  }
  for (auto& request : call->requests) call->caller.apply(request);
  call->times.submitted = Timeline::Clock::now();
  if (call->asked.stream) {
    answer_stream(call);
  } else {
    answer_whole(call);
  }
}

}  // namespace

void refuse(const OpenAiCall& call, const ApiError& error) {
  call.context->metrics.request_failed(lorax_error_type(error.failure));
  call.writer.send(openai_response(error));
}

void run(const std::shared_ptr<OpenAiCall>& call) {
  compile_constraint(*call->context, call->constraint, call->constraint_field, [call](auto compiled) {
    if (!compiled.ok()) return refuse(*call, compiled.error());
    for (auto& request : call->requests) request.grammar = compiled.value();
    run_compiled(call);
  });
}

}  // namespace graft::serving::api
