#pragma once

#include <set>
#include <string>
#include <string_view>

#include "serving/api/api_error.h"
#include "serving/api/json_text.h"

namespace graft::serving::api {

// Messages as a template sees them: the fields as they came and in their order, contents as plain strings, the
// arguments of tool calls as objects, as transformers has them.
ApiResult<OrderedJson> read_messages(const Json& body, const OrderedJson& ordered_body);

// The same with the arguments of tool calls as JSON text, which a few templates put together themselves.
OrderedJson with_arguments_as_text(OrderedJson messages);

// What a chat says about tools.
struct ToolChoice {
  OrderedJson tools;     // null: none; those that may be called
  bool forced = false;   // one has to be called
  bool parallel = true;  // more than one may be called
  std::set<std::string> names;
};
// tools, tool_choice and parallel_tool_calls. Errors name the field: "`tools[0].function.name` is missing".
ApiResult<ToolChoice> read_tools(const Json& body, const OrderedJson& ordered_body);

// `documents` for templates that answer from them; null where there are none.
ApiResult<OrderedJson> read_documents(const Json& body, const OrderedJson& ordered_body);

}  // namespace graft::serving::api
