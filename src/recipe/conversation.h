#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace graft::recipe {

// Chats as templates take them: an array of {role, content, tool_calls, ...}, checked so that no turn is lost silently.
//
// Roles: system (or developer) first, if at all; then user and assistant take turns, the user first; what tools answer
// (tool, ipython, function) follows an assistant message with tool_calls. At least one assistant message. No content is
// empty, but for the system's, a tool's, and that of an assistant message with tool_calls. `tool_calls` is a list of
// {type: function, function: {name, arguments}}; arguments that are JSON text become the object that they say.
// Errors name the message and the remedy: "messages[2]: ...".

// A cell of OpenAI's and Hugging Face's spelling: a list of messages, or its JSON text (a cell of a CSV).
Result<nlohmann::ordered_json> read_messages(const nlohmann::ordered_json& cell);

// A cell of ShareGPT's spelling: [{from, value}] with human (user), gpt (chatgpt, assistant), system, tool
// (observation) and function_call, whose value is JSON text {name, arguments} or a list of them. Turns that are spelled
// {role, content} are taken as well. `system`: the text of a column beside it, put in front; null or empty for none.
Result<nlohmann::ordered_json> read_sharegpt(const nlohmann::ordered_json& cell, const nlohmann::ordered_json& system);

}  // namespace graft::recipe
