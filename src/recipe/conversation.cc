#include "recipe/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/strings.h"

namespace graft::recipe {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 7> kRoles = {"system", "developer", "user",   "assistant",
                                                    "tool",   "function",  "ipython"};

struct Speaker {
  std::string_view from;
  std::string_view role;
};
constexpr std::array kSpeakers = {
    Speaker{"human", "user"},
    Speaker{"user", "user"},
    Speaker{"gpt", "assistant"},
    Speaker{"chatgpt", "assistant"},
    Speaker{"assistant", "assistant"},
    Speaker{"system", "system"},
    Speaker{"tool", "tool"},
    Speaker{"observation", "tool"},
    Speaker{"function_response", "tool"},
    Speaker{"function_call", "assistant"},
};

template <class List, class Name>
std::string known_names(std::string_view word, const List& list, Name name) {
  std::vector<std::string> names;
  for (const auto& item : list) names.emplace_back(name(item));
  return suggestion(word, names);
}

// A list, or the JSON text of one.
Result<Json> as_list(const Json& cell) {
  if (!cell.is_string()) {
    if (!cell.is_array() || cell.empty()) return invalid("must be a list that is not empty");
    return cell;
  }
  GRAFT_TRY(Json parsed, parse_ordered_json(cell.get_ref<const std::string&>()));
  if (!parsed.is_array() || parsed.empty()) return invalid("must be a list that is not empty");
  return parsed;
}

bool is_blank(const Json& text) {
  return text.get_ref<const std::string&>().find_first_not_of(" \t\r\n") == std::string::npos;
}

bool is_system(std::string_view role) { return role == "system" || role == "developer"; }
bool is_tool(std::string_view role) { return role == "tool" || role == "function" || role == "ipython"; }

std::string_view role_of(const Json& message) { return message["role"].get_ref<const std::string&>(); }

bool has_calls(const Json& message) {
  const auto calls = message.find("tool_calls");
  return calls != message.end() && calls->is_array() && !calls->empty();
}

Status read_call(Json& call) {
  if (!call.is_object()) return invalid("expected an object {type: function, function: {name, arguments}}");
  Json& function = call.contains("function") ? call["function"] : call;
  if (!function.is_object()) return invalid("'function' must be an object {name, arguments}");
  const auto name = function.find("name");
  if (name == function.end() || !name->is_string() || name->get_ref<const std::string&>().empty()) {
    return invalid("the function's 'name' is missing or not text");
  }
  const auto arguments = function.find("arguments");
  if (arguments == function.end() || arguments->is_null()) {
    function["arguments"] = Json::object();
    return {};
  }
  if (arguments->is_string()) {
    auto parsed = parse_ordered_json(arguments->get_ref<const std::string&>());
    if (!parsed.ok()) return at("'arguments' is text that is not JSON", parsed.error());
    function["arguments"] = std::move(parsed).value();
  }
  if (!function["arguments"].is_object()) return invalid("'arguments' must be an object, or the JSON text of one");
  return {};
}

Status read_calls(Json& message) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end()) return {};
  if (calls->is_null()) {
    message.erase("tool_calls");
    return {};
  }
  if (!calls->is_array()) return invalid("'tool_calls' must be a list");
  if (role_of(message) != "assistant" && !calls->empty()) return invalid("only an assistant message has 'tool_calls'");
  for (size_t i = 0; i < calls->size(); ++i) {
    if (Status read = read_call((*calls)[i]); !read.ok()) return at(fmt::format("tool_calls[{}]", i), read.error());
  }
  return {};
}

Status check_content(const Json& message) {
  const std::string_view role = role_of(message);
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    if (has_calls(message)) return {};
    return invalid("'content' is missing or null");
  }
  if (content->is_array()) {  // parts: the template's business
    if (content->empty()) return invalid("'content' is an empty list");
    return {};
  }
  if (!content->is_string()) return invalid("'content' is not a string");
  if (!is_blank(*content) || has_calls(message) || is_system(role) || is_tool(role)) return {};
  if (role == "assistant") return invalid("the assistant's content is empty: there is nothing to learn");
  return invalid("the content is empty; remove the message, or leave the row out");
}

Status read_message(Json& message) {
  if (!message.is_object()) return invalid("expected an object {role, content}");
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string()) {
    const bool sharegpt = message.contains("from") && message.contains("value");
    return invalid(sharegpt ? "'role' is missing: from and value are ShareGPT's spelling; name the column conversations"
                            : "'role' is missing or not a string");
  }
  if (std::find(kRoles.begin(), kRoles.end(), role_of(message)) == kRoles.end()) {
    return invalid(fmt::format("role '{}' is not known{}", printable(role_of(message), 40),
                               known_names(role_of(message), kRoles, [](std::string_view name) { return name; })));
  }
  GRAFT_CHECK_OK(read_calls(message));
  return check_content(message);
}

// What may come after `before`, which is null at the beginning.
Status check_order(const Json& before, const Json& message) {
  const std::string_view role = role_of(message);
  const std::string_view previous = before.is_null() ? "" : role_of(before);
  const bool opening = previous.empty() || is_system(previous);
  if (is_system(role)) {
    if (previous.empty()) return {};
    return invalid(fmt::format("a {} message after the first; put it first, or into the messages of the user", role));
  }
  if (is_tool(role)) {
    if (is_tool(previous) || (previous == "assistant" && has_calls(before))) return {};
    return invalid(fmt::format("a {} message must follow an assistant message with 'tool_calls', or another {} message",
                               role, role));
  }
  if (role == "assistant" && opening) {
    return invalid("the assistant speaks first; put the user's message in front, or remove this one");
  }
  if (role == previous) {
    return invalid(fmt::format("two {} messages in a row; put both into one", role));
  }
  return {};
}

Result<Json> checked(Json messages) {
  bool assistant = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string place = fmt::format("messages[{}]", i);
    if (Status read = read_message(messages[i]); !read.ok()) return at(place, read.error());
    if (Status order = check_order(i == 0 ? Json() : messages[i - 1], messages[i]); !order.ok()) {
      return at(place, order.error());
    }
    assistant = assistant || role_of(messages[i]) == "assistant";
  }
  if (!assistant) return invalid("no message of the assistant: there is nothing to learn");
  return messages;
}

Result<Json> call_message(const Json& value) {
  Json calls = value;
  if (value.is_string()) {
    auto parsed = parse_ordered_json(value.get_ref<const std::string&>());
    if (!parsed.ok()) return at("the function_call is text that is not JSON", parsed.error());
    calls = std::move(parsed).value();
  }
  if (calls.is_object()) calls = Json::array({calls});
  if (!calls.is_array() || calls.empty()) {
    return invalid("a function_call must be JSON: {\"name\": ..., \"arguments\": {...}}, or a list of them");
  }
  for (Json& call : calls) {
    if (call.is_object() && !call.contains("function")) call = {{"type", "function"}, {"function", Json(call)}};
  }
  return Json({{"role", "assistant"}, {"content", ""}, {"tool_calls", std::move(calls)}});
}

Result<Json> sharegpt_message(const Json& turn) {
  if (!turn.is_object()) return invalid("expected an object {from, value}");
  if (turn.contains("role") && turn.contains("content")) return turn;
  const auto from = turn.find("from");
  if (from == turn.end() || !from->is_string()) return invalid("'from' is missing or not a string");
  const auto& name = from->get_ref<const std::string&>();
  const auto* const speaker =
      std::find_if(kSpeakers.begin(), kSpeakers.end(), [&](const Speaker& s) { return s.from == name; });
  if (speaker == kSpeakers.end()) {
    return invalid(fmt::format("from '{}' is not known{}", printable(name, 40),
                               known_names(name, kSpeakers, [](const Speaker& s) { return s.from; })));
  }
  const auto value = turn.find("value");
  if (value == turn.end() || value->is_null()) return invalid("'value' is missing");
  if (name == "function_call") return call_message(*value);
  if (!value->is_string()) return invalid("'value' is not a string");
  return Json({{"role", std::string(speaker->role)}, {"content", *value}});
}

}  // namespace

Result<Json> read_messages(const Json& cell) {
  auto list = as_list(cell);
  if (!list.ok()) return at("messages", list.error());
  return checked(std::move(list).value());
}

Result<Json> read_sharegpt(const Json& cell, const Json& system) {
  auto list = as_list(cell);
  if (!list.ok()) return at("conversations", list.error());
  Json messages = Json::array();
  if (system.is_string() && !is_blank(system)) messages.push_back({{"role", "system"}, {"content", system}});
  const size_t before = messages.size();
  for (size_t i = 0; i < list->size(); ++i) {
    auto message = sharegpt_message((*list)[i]);
    if (!message.ok()) return at(fmt::format("conversations[{}]", i), message.error());
    messages.push_back(std::move(message).value());
  }
  if (before == 1 && is_system(messages[1]["role"].is_string() ? role_of(messages[1]) : std::string_view())) {
    return invalid("conversations[0]: a system message, and the column system has text as well; keep one of them");
  }
  return checked(std::move(messages));
}

}  // namespace graft::recipe
