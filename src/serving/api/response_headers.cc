#include "serving/api/response_headers.h"

#include <algorithm>

namespace graft::serving::api {
namespace {

std::string milliseconds(Nanoseconds duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

net::Headers start_headers(const ApiContext& context, size_t characters, const AdapterLabel& adapter) {
  net::Headers headers{{"x-compute-type", context.config.device_type + "+optimized"},
                       {"x-compute-characters", std::to_string(characters)},
                       {"x-model-id", net::header_safe(context.config.model_id)}};
  if (!adapter.id.empty()) {
    headers.add("x-adapter-id", net::header_safe(adapter.id));
    headers.add("x-adapter-source", net::header_safe(adapter.source));
  }
  return headers;
}

FinishedRequest finished_request(const Timeline& times, const std::vector<GenerationResult>& results,
                                 const std::string& adapter) {
  FinishedRequest request;
  request.adapter = adapter;
  request.total = Timeline::Clock::now() - times.came;
  request.validation = times.submitted - times.came;
  for (const auto& result : results) {
    request.prompt_tokens = std::max(request.prompt_tokens, result.prompt_tokens);
    request.generated_tokens += static_cast<int32_t>(result.tokens.size());
    request.queued = std::max(request.queued, result.queued);
    request.inference = std::max(request.inference, result.inference);
  }
  return request;
}

void add_finish_headers(net::Headers& headers, const Timeline& times, const std::vector<GenerationResult>& results) {
  const FinishedRequest sums = finished_request(times, results, {});
  Nanoseconds first_token{};
  int64_t longest = 1;
  for (const auto& result : results) {
    first_token = std::max(first_token, result.time_to_first_token - result.queued);
    longest = std::max(longest, static_cast<int64_t>(result.tokens.size()));
  }
  headers.add("x-compute-time", milliseconds(sums.total));
  headers.add("x-total-time", milliseconds(sums.total));
  headers.add("x-prompt-tokens", std::to_string(sums.prompt_tokens));
  headers.add("x-generated-tokens", std::to_string(sums.generated_tokens));
  headers.add("x-skipped-tokens", "0");
  headers.add("x-total-tokens", std::to_string(sums.prompt_tokens + sums.generated_tokens));
  headers.add("x-validation-time", milliseconds(sums.validation));
  headers.add("x-queue-time", milliseconds(sums.queued));
  headers.add("x-inference-time", milliseconds(sums.inference));
  headers.add("x-time-per-token", milliseconds(sums.inference / longest));
  headers.add("x-time-to-first-token", milliseconds(first_token));
  const Nanoseconds after_first = std::max(Nanoseconds{}, sums.inference - first_token);
  headers.add("x-time-per-output-token", milliseconds(after_first / std::max<int64_t>(1, longest - 1)));
}

std::string bearer_token(const net::Headers& headers) {
  const std::string_view value = headers.get("Authorization");
  constexpr std::string_view kScheme = "Bearer ";
  if (value.size() <= kScheme.size() || !net::equal_ignoring_case(value.substr(0, kScheme.size()), kScheme)) return {};
  return std::string(value.substr(kScheme.size()));
}

}  // namespace graft::serving::api
