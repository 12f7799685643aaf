#include "load/dialect.h"

#include <fmt/format.h>

#include "base/json.h"
#include "base/strings.h"

namespace graft::load {
namespace {

using nlohmann::json;

// Members of what may be anything.
const json& member(const json& object, const char* key) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

std::string text_of(const json& value) { return value.is_string() ? printable(value.get<std::string>()) : ""; }

bool has_text(const json& value) { return value.is_string() && !value.get_ref<const std::string&>().empty(); }

json openai_body(const LoadOptions& options, const Prompt& prompt, const std::string& model, int64_t max_tokens) {
  json body = {{"model", model}, {"max_tokens", max_tokens}, {"temperature", 0}, {"stream", options.stream}};
  if (options.api == Api::kOpenAi) {
    body["prompt"] = prompt.text;
  } else if (prompt.messages.is_null()) {
    body["messages"] = json::array({{{"role", "user"}, {"content", prompt.text}}});
  } else {
    body["messages"] = prompt.messages;
  }
  if (options.stream) body["stream_options"] = {{"include_usage", true}};
  if (options.ignore_eos) body["ignore_eos"] = body["ignore_eos_token"] = true;  // vLLM's name and LoRAX's
  return body;
}

json lorax_body(const LoadOptions& options, const Prompt& prompt, const std::string& model, int64_t max_tokens) {
  json parameters = {{"max_new_tokens", max_tokens}, {"temperature", 0}, {"details", true}};
  if (options.ignore_eos) parameters["ignore_eos_token"] = true;
  if (!model.empty()) parameters["adapter_id"] = model;
  return {{"inputs", prompt.text}, {"parameters", std::move(parameters)}};
}

const char* route(const LoadOptions& options) {
  switch (options.api) {
    case Api::kOpenAi:
      return "/v1/completions";
    case Api::kOpenAiChat:
      return "/v1/chat/completions";
    case Api::kLorax:
      break;
  }
  return options.stream ? "/generate_stream" : "/generate";
}

}  // namespace

net::ClientRequest make_request(const LoadOptions& options, const Prompt& prompt, const std::string& model) {
  const int64_t max_tokens = prompt.max_tokens > 0 ? prompt.max_tokens : options.max_tokens;
  net::ClientRequest request;
  request.method = "POST";
  request.url = options.url + route(options);
  request.headers = {{"Content-Type", "application/json"}};
  if (!options.api_key.empty()) request.headers.add("Authorization", "Bearer " + options.api_key);
  request.timeout = options.timeout;
  const json body = options.api == Api::kLorax ? lorax_body(options, prompt, model, max_tokens)
                                               : openai_body(options, prompt, model, max_tokens);
  request.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  return request;
}

bool AnswerReader::read_event(std::string_view data) {
  if (data == "[DONE]") {
    finished_ = true;
    return false;
  }
  const auto parsed = parse_json(data);
  if (!parsed.ok()) {
    error_ = "an event that is not JSON";
    error_text_ = parsed.error().message;
    return false;
  }
  const json& event = parsed.value();
  if (const json& error = member(event, "error"); !error.is_null()) {
    take_error(event);
    return false;
  }
  const bool token = api_ == Api::kLorax ? read_lorax(event) : read_openai(event);
  if (token) ++token_events_;
  return token;
}

bool AnswerReader::read_openai(const json& event) {
  take_usage(member(event, "usage"), "prompt_tokens", "completion_tokens");
  bool token = false;
  const json& choices = member(event, "choices");
  if (!choices.is_array()) return false;
  for (const json& choice : choices) {
    if (!member(choice, "finish_reason").is_null()) finished_ = true;
    const json& delta = member(choice, "delta");
    const json& calls = member(delta, "tool_calls");
    token = token || has_text(member(choice, "text")) || has_text(member(delta, "content")) ||
            has_text(member(delta, "reasoning_content")) || (calls.is_array() && !calls.empty());
  }
  return token;
}

bool AnswerReader::read_lorax(const json& event) {
  take_usage(member(event, "details"), "prompt_tokens", "generated_tokens");
  if (!member(event, "generated_text").is_null()) finished_ = true;
  return member(event, "token").is_object();
}

void AnswerReader::read_whole(std::string_view body) {
  auto parsed = parse_json(body);
  if (!parsed.ok()) {
    error_ = "an answer that is not JSON";
    error_text_ = parsed.error().message;
    return;
  }
  json answer = std::move(parsed).value();
  if (answer.is_array() && !answer.empty()) answer = json(answer.front());
  if (!member(answer, "error").is_null()) {
    take_error(answer);
  } else if (api_ == Api::kLorax) {
    read_lorax(answer);
  } else {
    read_openai(answer);
  }
}

void AnswerReader::take_usage(const json& usage, const char* prompt, const char* output) {
  if (const json& count = member(usage, prompt); count.is_number_integer()) prompt_tokens_ = count.get<int64_t>();
  if (const json& count = member(usage, output); count.is_number_integer()) reported_output_ = count.get<int64_t>();
}

void AnswerReader::take_error(const json& answer) {
  const json& error = member(answer, "error");
  const std::string type = error.is_object() ? text_of(member(error, "type")) : text_of(member(answer, "error_type"));
  error_ = "error in the answer" + (type.empty() ? "" : ": " + type);
  error_text_ = error.is_object() ? text_of(member(error, "message")) : text_of(error);
}

std::pair<std::string, std::string> refusal(int status, std::string_view body) {
  std::string kind = fmt::format("http {}", status);
  const auto parsed = parse_json(body);
  if (!parsed.ok()) return {kind, printable(body)};
  const json& error = member(parsed.value(), "error");
  const std::string type =
      error.is_object() ? text_of(member(error, "type")) : text_of(member(parsed.value(), "error_type"));
  if (!type.empty()) kind += " " + type;
  const std::string text = error.is_object() ? text_of(member(error, "message")) : text_of(error);
  return {kind, text.empty() ? printable(body) : text};
}

}  // namespace graft::load
