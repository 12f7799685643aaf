#include "serving/api/chat_messages.h"

#include <utility>

#include "base/json.h"
#include "base/strings.h"
#include "fmt/format.h"
#include "serving/api/fields.h"

namespace graft::serving::api {
namespace {

constexpr size_t kMostTools = 128;  // OpenAI's
constexpr size_t kLongestName = 256;

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

// An assistant's calls. `ordered`: the same in the client's order.
ApiResult<OrderedJson> read_calls(const Json& calls, const OrderedJson& ordered, const std::string& place) {
  if (!calls.is_array()) {
    return bad_field(fmt::format("`{}` must be an array, not {}", place, json_type(calls)), place);
  }
  OrderedJson out = OrderedJson::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string inner = fmt::format("{}[{}]", place, i);
    if (!calls[i].is_object()) {
      return bad_field(fmt::format("`{}` must be an object, not {}", inner, json_type(calls[i])), inner);
    }
    Fields fields(calls[i], inner + ".");
    const Json* function = fields.object("function");
    if (function == nullptr) fields.fail("function", "is missing");
    if (fields.error()) return *fields.error();
    Fields named(*function, inner + ".function.");
    if (!named.text("name")) named.fail("name", "is missing");
    const Json* arguments = named.any("arguments");
    if (arguments != nullptr && !arguments->is_string() && !arguments->is_object()) {
      named.fail("arguments", "must be JSON text");
    }
    if (named.error()) return *named.error();
    OrderedJson call = ordered[i];
    OrderedJson& given = call["function"]["arguments"];
    if (given.is_null()) given = OrderedJson::object();
    if (given.is_string()) {
      auto parsed = parse_ordered_json(given.get_ref<const std::string&>(), {.depth = 64});
      if (parsed.ok() && parsed->is_object()) given = std::move(parsed).value();
    }
    out.push_back(std::move(call));
  }
  return out;
}

ApiResult<OrderedJson> read_message(const Json& message, const OrderedJson& ordered, const std::string& place) {
  if (!message.is_object()) {
    return bad_field(fmt::format("`{}` must be an object, not {}", place, json_type(message)), place);
  }
  Fields fields(message, place + ".");
  const auto role = fields.text("role");
  if (!role) fields.fail("role", "is missing");
  if (fields.error()) return *fields.error();
  GRAFT_TRY(std::string content, content_of(message, place));
  OrderedJson clean{{"role", *role}, {"content", std::move(content)}};
  for (const auto& [key, value] : ordered.items()) {
    if (key == "role" || key == "content" || value.is_null()) continue;
    if (key == "tool_calls") {
      if (value.is_array() && value.empty()) continue;
      GRAFT_TRY(clean[key], read_calls(message[key], value, place + "." + key));
    } else {
      clean[key] = value;
    }
  }
  return clean;
}

ApiResult<std::string> read_tool(const Json& tool, const std::string& place) {
  if (!tool.is_object()) {
    return bad_field(fmt::format("`{}` must be an object, not {}", place, json_type(tool)), place);
  }
  Fields fields(tool, place + ".");
  const auto type = fields.text("type");
  if (type && *type != "function") fields.fail("type", "must be \"function\"");
  const Json* function = fields.object("function");
  if (function == nullptr) fields.fail("function", "is missing");
  if (fields.error()) return *fields.error();
  Fields inner(*function, place + ".function.");
  const auto name = inner.text("name");
  if (!name) inner.fail("name", "is missing");
  if (name && (name->empty() || name->size() > kLongestName)) {
    inner.fail("name", fmt::format("must have 1 to {} characters", kLongestName));
  }
  static_cast<void>(inner.text("description"));
  static_cast<void>(inner.object("parameters"));
  if (inner.error()) return *inner.error();
  return *name;
}

// A string, or {"type": "function", "function": {"name"}}, of which a name is returned.
ApiResult<std::string> read_choice(const Json& body, bool has_tools) {
  const auto found = body.find("tool_choice");
  if (found == body.end() || found->is_null()) return std::string(has_tools ? "auto" : "none");
  const char* must = "must be none, auto, required, or an object that names a function";
  if (found->is_string()) {
    const auto word = found->get<std::string>();
    if (word == "none" || word == "auto" || word == "required") return word;
    return bad_field(fmt::format("`tool_choice` {}", must), "tool_choice");
  }
  if (!found->is_object()) return bad_field(fmt::format("`tool_choice` {}", must), "tool_choice");
  Fields fields(*found, "tool_choice.");
  const Json* function = fields.object("function");
  if (function == nullptr) fields.fail("function", "is missing");
  if (fields.error()) return *fields.error();
  Fields inner(*function, "tool_choice.function.");
  const auto name = inner.text("name");
  if (!name) inner.fail("name", "is missing");
  if (inner.error()) return *inner.error();
  return "function:" + *name;
}

}  // namespace

ApiResult<OrderedJson> read_messages(const Json& body, const OrderedJson& ordered_body) {
  Fields fields(body);
  const Json* messages = fields.array("messages");
  if (messages == nullptr) fields.fail("messages", "is missing");
  if (messages != nullptr && messages->empty()) fields.fail("messages", "cannot be empty");
  if (fields.error()) return *fields.error();
  OrderedJson out = OrderedJson::array();
  for (size_t i = 0; i < messages->size(); ++i) {
    GRAFT_TRY(OrderedJson clean,
              read_message((*messages)[i], ordered_body["messages"][i], fmt::format("messages[{}]", i)));
    out.push_back(std::move(clean));
  }
  return out;
}

OrderedJson with_arguments_as_text(OrderedJson messages) {
  for (auto& message : messages) {
    if (!message.contains("tool_calls")) continue;
    for (auto& call : message["tool_calls"]) {
      OrderedJson& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) arguments = to_text(arguments);
    }
  }
  return messages;
}

ApiResult<ToolChoice> read_tools(const Json& body, const OrderedJson& ordered_body) {
  ToolChoice choice;
  Fields fields(body);
  const Json* tools = fields.array("tools");
  const Json* parallel = fields.any("parallel_tool_calls");
  if (parallel != nullptr) choice.parallel = fields.flag("parallel_tool_calls");
  if (tools != nullptr && tools->size() > kMostTools) {
    fields.fail("tools", fmt::format("may hold up to {} functions. Given: {}", kMostTools, tools->size()));
  }
  if (fields.error()) return *fields.error();
  const bool has_tools = tools != nullptr && !tools->empty();
  GRAFT_TRY(const std::string asked, read_choice(body, has_tools));
  for (size_t i = 0; has_tools && i < tools->size(); ++i) {
    GRAFT_TRY(std::string name, read_tool((*tools)[i], fmt::format("tools[{}]", i)));
    choice.names.insert(std::move(name));
  }
  if (asked == "none") {
    choice.names.clear();
    return choice;
  }
  if (!has_tools) {
    if (asked == "auto") return choice;
    return bad_field("`tool_choice` asks for a function, but there are no `tools`", "tool_choice");
  }
  choice.tools = ordered_body["tools"];
  choice.forced = asked != "auto";
  if (!asked.starts_with("function:")) return choice;
  const std::string name = asked.substr(9);
  if (!choice.names.contains(name)) {
    return bad_field(fmt::format("`tool_choice` names \"{}\", which is not among `tools`", printable(name, 60)),
                     "tool_choice");
  }
  OrderedJson only = OrderedJson::array();
  for (const auto& tool : choice.tools) {
    if (tool["function"]["name"] == name && only.empty()) only.push_back(tool);
  }
  choice.tools = std::move(only);
  choice.names = {name};
  return choice;
}

ApiResult<OrderedJson> read_documents(const Json& body, const OrderedJson& ordered_body) {
  Fields fields(body);
  const Json* documents = fields.array("documents");
  if (fields.error()) return *fields.error();
  if (documents == nullptr || documents->empty()) return OrderedJson();
  for (size_t i = 0; i < documents->size(); ++i) {
    if ((*documents)[i].is_object()) continue;
    const std::string place = fmt::format("documents[{}]", i);
    return bad_field(fmt::format("`{}` must be an object, not {}", place, json_type((*documents)[i])), place);
  }
  return ordered_body["documents"];
}

}  // namespace graft::serving::api
