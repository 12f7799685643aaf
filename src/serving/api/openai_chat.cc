// POST /v1/chat/completions.

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

constexpr int64_t kMaxTopLogprobs = 20;  // OpenAI's

class ChatFormat : public OpenAiFormat {
 public:
  ContextPtr context;
  bool logprobs = false;
  int32_t top_logprobs = 0;

  [[nodiscard]] std::string_view id_prefix() const override { return "chatcmpl-"; }
  [[nodiscard]] std::string_view object_name(bool stream) const override {
    return stream ? "chat.completion.chunk" : "chat.completion";
  }
  [[nodiscard]] bool wants_logprobs() const override { return logprobs; }

  [[nodiscard]] OrderedJson whole(size_t index, const ChoicePiece& piece, std::string_view finish_reason,
                                  const GenerationResult&) const override {
    return {{"index", index},
            {"message", {{"role", "assistant"}, {"content", piece.text}, {"refusal", nullptr}}},
            {"logprobs", logprobs_of(piece)},
            {"finish_reason", finish_reason}};
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

// A string, null, or parts of type text, which are put together.
ApiResult<std::string> content_of(const Json& message, const std::string& place) {
  const auto it = message.find("content");
  if (it == message.end() || it->is_null()) return std::string();
  if (it->is_string()) return it->get<std::string>();
  if (!it->is_array()) {
    return bad_field(fmt::format("`{}.content` must be a string or an array of parts, not {}", place, json_type(*it)),
                     place + ".content");
  }
  std::string text;
  for (size_t i = 0; i < it->size(); ++i) {
    const Json& part = (*it)[i];
    const std::string part_place = fmt::format("{}.content[{}]", place, i);
    if (!part.is_object()) {
      return bad_field(fmt::format("`{}` must be an object, not {}", part_place, json_type(part)), part_place);
    }
    Fields fields(part, part_place + ".");
    const auto type = fields.text("type");
    const auto piece = fields.text("text");
    if (type != "text") fields.fail("type", "must be \"text\": other kinds of content are not supported");
    if (!piece) fields.fail("text", "is missing");
    if (fields.error()) return *fields.error();
    text += *piece;
  }
  return text;
}

// Messages as the template sees them: the fields as they came, contents as plain strings.
ApiResult<OrderedJson> read_messages(const Json& body) {
  Fields fields(body);
  const Json* messages = fields.array("messages");
  if (messages == nullptr) fields.fail("messages", "is missing");
  if (messages != nullptr && messages->empty()) fields.fail("messages", "cannot be empty");
  if (fields.error()) return *fields.error();
  OrderedJson out = OrderedJson::array();
  for (size_t i = 0; i < messages->size(); ++i) {
    const Json& message = (*messages)[i];
    const std::string place = fmt::format("messages[{}]", i);
    if (!message.is_object()) {
      return bad_field(fmt::format("`{}` must be an object, not {}", place, json_type(message)), place);
    }
    Fields inner(message, place + ".");
    const auto role = inner.text("role");
    if (!role) inner.fail("role", "is missing");
    if (inner.error()) return *inner.error();
    if (message.contains("tool_calls") && !message["tool_calls"].is_null()) {
      return bad_field(fmt::format("`{}.tool_calls` are not supported yet", place), place + ".tool_calls");
    }
    GRAFT_TRY(std::string content, content_of(message, place));
    OrderedJson clean{{"role", *role}, {"content", std::move(content)}};
    for (const auto& [key, value] : message.items()) {
      if (key != "role" && key != "content" && !value.is_null()) clean[key] = OrderedJson::parse(value.dump());
    }
    out.push_back(std::move(clean));
  }
  return out;
}

size_t characters_in(const OrderedJson& messages) {
  size_t sum = 0;
  for (const auto& message : messages) sum += count_characters(message["content"].get_ref<const std::string&>());
  return sum;
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

  auto format = std::make_shared<ChatFormat>();
  format->context = call.context;
  format->logprobs = fields.flag("logprobs");
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (top && *top > 0 && !format->logprobs) fields.fail("top_logprobs", "needs `logprobs` to be true");
  format->top_logprobs = static_cast<int32_t>(top.value_or(0));
  if (call.asked.max_tokens == 0) fields.fail("max_tokens", "must be at least 1");
  if (fields.error()) return fields.error();

  const auto messages = read_messages(body);
  if (!messages.ok()) return messages.error();
  auto prompt = tokenize_chat(context, messages.value());
  if (!prompt.ok()) return prompt.error();
  auto request = to_generation(context, call.asked, std::move(prompt).value(), call.asked.max_tokens);
  if (!request.ok()) return request.error();
  request.value().logprobs = format->logprobs;
  request.value().num_alternatives = format->top_logprobs;
  call.characters = characters_in(messages.value());
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
