// POST /v1/completions.

#include <algorithm>
#include <limits>
#include <utility>

#include "fmt/format.h"
#include "serving/api/characters.h"
#include "serving/api/openai_call.h"
#include "serving/api/openai_logprobs.h"
#include "serving/api/openai_prompts.h"
#include "serving/api/prompt.h"
#include "serving/api/response_format.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

constexpr int64_t kDefaultMaxTokens = 16;  // OpenAI's
constexpr int64_t kMaxLogprobs = 5;        // likewise

class CompletionFormat : public OpenAiFormat {
 public:
  ContextPtr context;
  std::optional<int32_t> logprobs;
  bool echo = false;
  size_t choices_per_prompt = 1;
  std::vector<Prompt> prompts;

  [[nodiscard]] std::string_view id_prefix() const override { return "cmpl-"; }
  [[nodiscard]] std::string_view object_name(bool) const override { return "text_completion"; }
  [[nodiscard]] bool wants_logprobs() const override { return logprobs.has_value(); }

  [[nodiscard]] OrderedJson whole(size_t index, const ChoicePiece& piece, std::string_view finish_reason,
                                  const GenerationResult& result) const override {
    const std::string prefix = echo ? prompts[index / choices_per_prompt].text : "";
    OrderedJson logprobs_json;
    if (logprobs) {
      CompletionLogprobs builder(*context, *logprobs, 0);
      if (echo) builder.add_prompt(result.prefill);
      builder.add(piece.tokens);
      logprobs_json = std::move(builder).json();
    }
    return choice(index, prefix + piece.text, std::move(logprobs_json), std::string(finish_reason));
  }

  [[nodiscard]] OrderedJson opening(size_t index) const override {
    if (!echo) return nullptr;
    return choice(index, prompts[index / choices_per_prompt].text, nullptr, nullptr);
  }

  [[nodiscard]] OrderedJson delta(size_t index, const ChoicePiece& piece,
                                  const OrderedJson& finish_reason) const override {
    OrderedJson logprobs_json;
    if (logprobs && !piece.tokens.empty()) {
      const size_t echoed = echo ? count_characters(prompts[index / choices_per_prompt].text) : 0;
      CompletionLogprobs builder(*context, *logprobs, echoed + piece.characters_before);
      builder.add(piece.tokens);
      logprobs_json = std::move(builder).json();
    }
    return choice(index, piece.text, std::move(logprobs_json), finish_reason);
  }

 private:
  static OrderedJson choice(size_t index, std::string text, OrderedJson logprobs_json, OrderedJson finish_reason) {
    return {{"index", index},
            {"text", std::move(text)},
            {"logprobs", std::move(logprobs_json)},
            {"finish_reason", std::move(finish_reason)}};
  }
};

std::optional<ApiError> prepare(OpenAiCall& call, const Json& body, std::string_view text) {
  const ApiContext& context = *call.context;
  Fields fields(body);
  auto asked = parse_openai(context, fields);
  if (!asked.ok()) return asked.error();
  call.asked = std::move(asked).value();
  auto constraint = response_format_of(text, "");
  if (!constraint.ok()) return constraint.error();
  call.constraint = std::move(constraint).value();
  if (call.asked.api_token.empty()) call.asked.api_token = call.caller.hub_token;

  auto format = std::make_shared<CompletionFormat>();
  format->context = call.context;
  const auto logprobs = fields.integer("logprobs", 0, kMaxLogprobs);
  if (logprobs) format->logprobs = static_cast<int32_t>(*logprobs);
  format->echo = fields.flag("echo");
  const int64_t best_of = fields.integer("best_of", 1, context.config.max_choices).value_or(call.asked.choices);
  if (best_of < call.asked.choices) fields.fail("best_of", "must be at least `n`");
  if (best_of > call.asked.choices && call.asked.stream) {
    fields.fail("best_of", "may not be more than `n` when streaming");
  }
  if (!fields.text("suffix").value_or("").empty()) fields.fail("suffix", "is not supported");
  if (format->echo && format->logprobs && call.asked.stream) {
    fields.fail("echo", "with `logprobs` is not supported when streaming");
  }
  if (fields.error()) return fields.error();
  format->prompts = read_prompts(context, fields, "prompt", static_cast<size_t>(context.config.max_choices));
  if (!fields.error() && static_cast<int64_t>(format->prompts.size()) * best_of > context.config.max_choices) {
    fields.fail("n", fmt::format("times the number of prompts must be <= {}", context.config.max_choices));
  }
  if (fields.error()) return fields.error();

  format->choices_per_prompt = static_cast<size_t>(call.asked.choices);
  call.best_of = static_cast<size_t>(best_of);
  const int64_t max_tokens = call.asked.max_tokens.value_or(kDefaultMaxTokens);
  call.drop_output = max_tokens == 0;
  for (const Prompt& prompt : format->prompts) {
    call.characters += count_characters(prompt.text);
    auto request = to_generation(context, call.asked, prompt.ids, max_tokens);
    if (!request.ok()) return request.error();
    request.value().prompt_logprobs = format->echo && format->logprobs.has_value();
    request.value().logprobs = format->logprobs.has_value() || best_of > call.asked.choices;
    request.value().num_alternatives = format->logprobs.value_or(0);
    append_choices(call.requests, request.value(), call.asked.seed, best_of);
  }
  call.format = std::move(format);
  return std::nullopt;
}

}  // namespace

void add_openai_completions_routes(net::Router& router, const ContextPtr& context) {
  router.add("POST", "/v1/completions", [context](const net::Request& request, const net::ResponseWriter& writer) {
    auto call = std::make_shared<OpenAiCall>(context, writer);
    context->metrics.request_came();
    auto caller = caller_of(request.headers);
    if (!caller.ok()) return refuse(*call, caller.error());
    call->caller = std::move(caller).value();
    const auto body = parse_body(request.body);
    if (!body.ok()) return refuse(*call, body.error());
    if (const auto error = prepare(*call, body.value(), request.body)) return refuse(*call, *error);
    run(call);
  });
}

}  // namespace graft::serving::api
