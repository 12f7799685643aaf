#include "serving/api/pooled_call.h"

#include <utility>

#include "fmt/format.h"
#include "serving/api/generation_job.h"

namespace graft::serving::api {

void refuse(const PooledCall& call, const ApiError& error) {
  call.context->metrics.request_failed(lorax_error_type(error.failure));
  call.writer.send(call.refusal(error));
}

void run(const PooledCallPtr& call) {
  GenerationJob::Events events;
  events.on_done = [call](const std::vector<GenerationResult>& results) {
    net::Response response = net::Response::json(200, to_text(call->answer(results)));
    for (const auto& [name, value] : start_headers(*call->context, call->characters, call->adapter)) {
      response.headers.add(name, value);
    }
    add_finish_headers(response.headers, call->times, results);
    call->context->metrics.request_finished(finished_request(call->times, results, call->adapter.id));
    if (!call->adapter.id.empty()) call->context->adapters.note_served(call->adapter.id);
    call->writer.send(std::move(response));
  };
  events.on_error = [call](const ApiError& error) { refuse(*call, error); };
  call->times.submitted = Timeline::Clock::now();
  for (const GenerationRequest& request : call->requests) {
    call->context->metrics.request_validated(static_cast<int32_t>(request.prompt.size()), 0);
  }
  GenerationJob::create(call->context, std::move(events))->submit(std::move(call->requests), call->writer);
}

ApiResult<GenerationRequest> pooled_request(const ApiContext& context, std::vector<int32_t> prompt, Pooling pooling,
                                            const std::string& field) {
  if (prompt.empty()) return bad_field(fmt::format("`{}` cannot be empty", field), field);
  const int32_t limit = context.engine->limits().max_total_tokens;
  if (prompt.size() > static_cast<size_t>(limit)) {
    return bad_field(fmt::format("`{}` must have less than {} tokens. Given: {}", field, limit + 1, prompt.size()),
                     field);
  }
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.pooling = pooling;
  request.logprobs = false;
  return request;
}

Pooling read_pooling(const ApiContext& context, Fields& fields) {
  const auto asked = fields.text("pooling");
  if (!asked) return context.config.pooling;
  if (*asked == "mean") return Pooling::kMean;
  if (*asked == "last") return Pooling::kLast;
  fields.fail("pooling", "must be \"mean\" or \"last\"");
  return Pooling::kMean;
}

void handle_pooled(const PooledCallPtr& call, const net::Request& request, const Prepare& prepare) {
  call->context->metrics.request_came();
  auto caller = caller_of(request.headers);
  if (!caller.ok()) return refuse(*call, caller.error());
  call->caller = std::move(caller).value();
  const auto body = parse_body(request.body);
  if (!body.ok()) return refuse(*call, body.error());
  if (const auto error = prepare(*call, body.value())) return refuse(*call, *error);
  for (GenerationRequest& one : call->requests) call->caller.apply(one);
  run(call);
}

}  // namespace graft::serving::api
