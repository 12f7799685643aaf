#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serving/api/tool_call_stream.h"
#include "serving/api/tool_dialect.h"
#include "serving/engine.h"
#include "text/tokenizer.h"

namespace graft::serving::api {

// What a chat's answer may call.
struct ToolUse {
  ToolDialect dialect;
  std::set<std::string> names;
  bool forced = false;
};

// One choice's text as OpenAI's deltas: {"content"}, {"tool_calls": [{index, id, type, function: {name, arguments:
// ""}}]} when a call begins, {"tool_calls": [{index, function: {arguments}}]} for what it goes on with.
class ToolDeltas {
 public:
  explicit ToolDeltas(const ToolUse& use);

  std::vector<OrderedJson> push(std::string_view text);
  std::vector<OrderedJson> finish();
  [[nodiscard]] bool called() const { return calls_ > 0; }

 private:
  std::vector<OrderedJson> deltas_of(const ToolEvents& events);
  ToolDialect dialect_;
  ToolCallStream stream_;
  size_t calls_ = 0;
};

// A whole answer's message: content, null where there are only calls, and tool_calls.
OrderedJson message_with_calls(const ToolUse& use, std::string_view text);

// The token with its text, where it is a special one that belongs to a call.
GeneratedToken with_marker(const text::Tokenizer& tokenizer, GeneratedToken token);

}  // namespace graft::serving::api
