// POST /v1/chat/completions.

#include <utility>

#include "base/json.h"
#include "fmt/format.h"
#include "serving/api/characters.h"
#include "serving/api/chat_messages.h"
#include "serving/api/openai_call.h"
#include "serving/api/openai_logprobs.h"
#include "serving/api/prompt.h"
#include "serving/api/response_format.h"
#include "serving/api/routes.h"

namespace graft::serving::api {
namespace {

constexpr int64_t kMaxTopLogprobs = 20;  // OpenAI's
constexpr int kMostCalls = 16;           // of functions, in one answer that has to call one

class ChatFormat : public OpenAiFormat {
 public:
  ContextPtr context;
  bool logprobs = false;
  int32_t top_logprobs = 0;
  std::optional<ToolUse> use;

  [[nodiscard]] std::string_view id_prefix() const override { return "chatcmpl-"; }
  [[nodiscard]] std::string_view object_name(bool stream) const override {
    return stream ? "chat.completion.chunk" : "chat.completion";
  }
  [[nodiscard]] bool wants_logprobs() const override { return logprobs; }

  [[nodiscard]] OrderedJson whole(size_t index, const ChoicePiece& piece, std::string_view finish_reason,
                                  const GenerationResult&) const override {
    OrderedJson message{{"role", "assistant"}, {"content", piece.text}, {"refusal", nullptr}};
    if (use) message = message_with_calls(*use, piece.text);
    const bool called = message.contains("tool_calls") && finish_reason == "stop";
    return {{"index", index},
            {"message", std::move(message)},
            {"logprobs", logprobs_of(piece)},
            {"finish_reason", called ? "tool_calls" : finish_reason}};
  }

  [[nodiscard]] const ToolUse* tools() const override { return use ? &*use : nullptr; }

  [[nodiscard]] OrderedJson delta_with(size_t index, OrderedJson delta, const ChoicePiece& piece) const override {
    return {{"index", index},
            {"delta", std::move(delta)},
            {"logprobs", piece.tokens.empty() ? OrderedJson(nullptr) : logprobs_of(piece)},
            {"finish_reason", nullptr}};
  }

  [[nodiscard]] OrderedJson opening(size_t index) const override {
    return {{"index", index},
            {"delta", {{"role", "assistant"}, {"content", ""}}},
            {"logprobs", nullptr},
            {"finish_reason", nullptr}};
  }

  [[nodiscard]] OrderedJson delta(size_t index, const ChoicePiece& piece,
                                  const OrderedJson& finish_reason) const override {
    const bool more = finish_reason.is_null();
    return {{"index", index},
            {"delta", more ? OrderedJson{{"content", piece.text}} : OrderedJson::object()},
            {"logprobs", more ? logprobs_of(piece) : OrderedJson(nullptr)},
            {"finish_reason", finish_reason}};
  }

 private:
  [[nodiscard]] OrderedJson logprobs_of(const ChoicePiece& piece) const {
    return logprobs ? chat_logprobs(*context, piece.tokens, top_logprobs) : OrderedJson(nullptr);
  }
};

size_t characters_in(const OrderedJson& messages) {
  size_t sum = 0;
  for (const auto& message : messages) sum += count_characters(message["content"].get_ref<const std::string&>());
  return sum;
}

// Tells a model about functions that its template does not speak of.
void add_instructions(OrderedJson& messages, const std::string& text) {
  if (!messages.empty() && messages.front()["role"] == "system") {
    auto& content = messages.front()["content"].get_ref<std::string&>();
    content += (content.empty() ? "" : "\n\n") + text;
  } else {
    messages.insert(messages.begin(), OrderedJson{{"role", "system"}, {"content", text}});
  }
}

// Messages, tools and documents; a call that is forced becomes the constraint of the output.
ApiResult<Chat> read_chat(OpenAiCall& call, const Json& body, std::string_view text, std::optional<ToolUse>& use) {
  const ToolDialect& dialect = call.context->tools;
  const auto ordered = parse_ordered_json(text);
  if (!ordered.ok()) return ApiError{Failure::kMalformed, "the request's body is " + ordered.error().message, {}, {}};
  Chat chat;
  GRAFT_TRY(chat.messages, read_messages(body, *ordered));
  GRAFT_TRY(ToolChoice choice, read_tools(body, *ordered));
  GRAFT_TRY(chat.documents, read_documents(body, *ordered));
  if (choice.tools.is_null()) return chat;
  if (call.constraint) {
    return bad_field("`response_format` cannot be combined with `tools`, unless `tool_choice` is none",
                     "response_format");
  }
  use = ToolUse{dialect, std::move(choice.names), choice.forced};
  if (choice.forced) {
    chat.suffix = dialect.forced_prefix();
    call.constraint = {grammar::GrammarKind::kJsonSchema,
                       dialect.forced_schema(choice.tools, choice.parallel ? kMostCalls : 1)};
    call.constraint_field = "tools";
  }
  if (dialect.in_template) {
    chat.tools = std::move(choice.tools);
  } else {
    add_instructions(chat.messages, dialect.instructions(choice.tools));
  }
  return chat;
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

  auto format = std::make_shared<ChatFormat>();
  format->context = call.context;
  format->logprobs = fields.flag("logprobs");
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (top && *top > 0 && !format->logprobs) fields.fail("top_logprobs", "needs `logprobs` to be true");
  format->top_logprobs = static_cast<int32_t>(top.value_or(0));
  if (call.asked.max_tokens == 0) fields.fail("max_tokens", "must be at least 1");
  if (fields.error()) return fields.error();

  auto chat = read_chat(call, body, text, format->use);
  if (!chat.ok()) return chat.error();
  auto prompt = tokenize_chat(context, chat.value());
  if (!prompt.ok()) return prompt.error();
  auto request = to_generation(context, call.asked, std::move(prompt).value(), call.asked.max_tokens);
  if (!request.ok()) return request.error();
  request.value().logprobs = format->logprobs;
  request.value().num_alternatives = format->top_logprobs;
  call.characters = characters_in(chat.value().messages);
  call.best_of = static_cast<size_t>(call.asked.choices);
  append_choices(call.requests, request.value(), call.asked.seed, call.asked.choices);
  call.format = std::move(format);
  return std::nullopt;
}

}  // namespace

void add_openai_chat_routes(net::Router& router, const ContextPtr& context) {
  router.add("POST", "/v1/chat/completions", [context](const net::Request& request, const net::ResponseWriter& writer) {
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
