// POST /v1/completions.

#include <algorithm>
#include <limits>
#include <utility>

#include "fmt/format.h"
#include "serving/api/characters.h"
#include "serving/api/openai_call.h"
#include "serving/api/openai_logprobs.h"
#include "serving/api/prompt.h"
#include "serving/api/response_format.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

constexpr int64_t kDefaultMaxTokens = 16;  // OpenAI's
constexpr int64_t kMaxLogprobs = 5;        // likewise

struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
};

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

std::optional<std::vector<int32_t>> token_ids(const ApiContext& context, const Json& array) {
  std::vector<int32_t> ids;
  for (const Json& item : array) {
    if (!item.is_number_integer()) return std::nullopt;
    const auto id = item.get<int64_t>();
    if (id < 0 || id >= context.tokenizer->vocab_size()) return std::nullopt;
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// A string or token ids.
std::optional<Prompt> read_one_prompt(const ApiContext& context, const Json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    return Prompt{text, tokenize_raw(context, text)};
  }
  if (!value.is_array()) return std::nullopt;
  auto ids = token_ids(context, value);
  if (!ids) return std::nullopt;
  std::string text = context.tokenizer->decode(*ids, false, /*clean_up_spaces=*/false);
  return Prompt{std::move(text), std::move(*ids)};
}

// One prompt, or an array of them. An array of integers is one prompt.
std::vector<Prompt> read_prompts(const ApiContext& context, Fields& fields) {
  const std::string must =
      fmt::format("must be a string, an array of strings, an array of token ids (0 to {}) or an array of such arrays",
                  context.tokenizer->vocab_size() - 1);
  std::vector<Prompt> prompts;
  const Json* value = fields.any("prompt");
  if (value == nullptr) {
    fields.fail("prompt", "is missing");
    return prompts;
  }
  const bool many = value->is_array() && !value->empty() && (value->front().is_string() || value->front().is_array());
  const auto add = [&](const Json& item) {
    auto prompt = read_one_prompt(context, item);
    if (prompt) prompts.push_back(std::move(*prompt));
    return prompt.has_value();
  };
  if (many && value->size() > static_cast<size_t>(context.config.max_choices)) {
    fields.fail("prompt",
                fmt::format("may hold up to {} prompts. Given: {}", context.config.max_choices, value->size()));
  } else if (!(many ? std::all_of(value->begin(), value->end(), add) : add(*value))) {
    fields.fail("prompt", must);
  }
  return prompts;
}

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
  format->prompts = read_prompts(context, fields);
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
