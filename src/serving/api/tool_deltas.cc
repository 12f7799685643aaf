#include "serving/api/tool_deltas.h"

#include <iterator>
#include <utility>

namespace graft::serving::api {

ToolDeltas::ToolDeltas(const ToolUse& use)
    : dialect_(use.dialect), stream_(use.dialect.format, use.names, use.forced) {}

std::vector<OrderedJson> ToolDeltas::push(std::string_view text) { return deltas_of(stream_.push(text)); }
std::vector<OrderedJson> ToolDeltas::finish() { return deltas_of(stream_.finish()); }

std::vector<OrderedJson> ToolDeltas::deltas_of(const ToolEvents& events) {
  std::vector<OrderedJson> deltas;
  for (const ToolEvent& event : events) {
    if (event.kind == ToolEvent::Kind::kText) {
      deltas.push_back({{"content", event.text}});
      continue;
    }
    OrderedJson call = OrderedJson::object();
    if (event.kind == ToolEvent::Kind::kBegin) {
      call = {{"index", calls_++},
              {"id", dialect_.new_call_id()},
              {"type", "function"},
              {"function", {{"name", event.text}, {"arguments", ""}}}};
    } else {
      call = {{"index", calls_ - 1}, {"function", {{"arguments", event.text}}}};
    }
    deltas.push_back({{"tool_calls", OrderedJson::array({std::move(call)})}});
  }
  return deltas;
}

OrderedJson message_with_calls(const ToolUse& use, std::string_view text) {
  ToolDeltas deltas(use);
  std::vector<OrderedJson> all = deltas.push(text);
  std::vector<OrderedJson> rest = deltas.finish();
  std::move(rest.begin(), rest.end(), std::back_inserter(all));
  std::string content;
  OrderedJson calls = OrderedJson::array();
  for (const OrderedJson& delta : all) {
    if (delta.contains("content")) {
      content += delta["content"].get_ref<const std::string&>();
      continue;
    }
    const OrderedJson& piece = delta["tool_calls"][0];
    if (piece.contains("id")) {
      OrderedJson call = piece;
      call.erase("index");
      calls.push_back(std::move(call));
    } else {
      auto& arguments = calls.back()["function"]["arguments"].get_ref<std::string&>();
      arguments += piece["function"]["arguments"].get_ref<const std::string&>();
    }
  }
  OrderedJson message{{"role", "assistant"}, {"content", std::move(content)}, {"refusal", nullptr}};
  if (!calls.empty()) {
    if (message["content"] == "") message["content"] = nullptr;
    message["tool_calls"] = std::move(calls);
  }
  return message;
}

GeneratedToken with_marker(const text::Tokenizer& tokenizer, GeneratedToken token) {
  if (!token.special) return token;
  const std::string spelling = tokenizer.id_to_token(token.id);
  if (is_tool_marker(spelling)) token.text = spelling;
  return token;
}

}  // namespace graft::serving::api
