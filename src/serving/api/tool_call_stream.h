#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "serving/api/tool_call_reader.h"

namespace graft::serving::api {

// How models write calls of functions.
enum class ToolFormat {
  kHermes,   // <tool_call>{"name", "arguments"}</tool_call>, text around it: Hermes, Qwen
  kLlama3,   // the whole answer is {"name", "parameters"}, a <|python_tag|> before it: Llama 3.1 and later
  kMistral,  // [TOOL_CALLS][{"name", "arguments"}, ...], or [TOOL_CALLS]name[ARGS]{...}
  kJson,     // the whole answer is {"name", "arguments"}, or an array of them
};

// Finds the calls in a model's text as it is generated. Text that may turn out to be the beginning of a call is held
// back; white space around calls is dropped.
class ToolCallStream {
 public:
  // `names`: the functions that there are. `forced`: the text begins within a call, because the prompt ended with what
  // comes before it.
  ToolCallStream(ToolFormat format, std::set<std::string> names, bool forced);

  ToolEvents push(std::string_view text);
  ToolEvents finish();

 private:
  enum class State { kText, kLead, kName, kCall, kBetween, kRest };
  bool step(ToolEvents& events);  // false: more text is needed
  bool find_marker(ToolEvents& events);
  bool lead(ToolEvents& events);
  bool read_name(ToolEvents& events);
  bool read_call(ToolEvents& events);
  bool between(ToolEvents& events);
  void begin_call();
  void tell_text(std::string text, ToolEvents& events);
  [[nodiscard]] bool marked() const { return format_ == ToolFormat::kHermes || format_ == ToolFormat::kMistral; }

  ToolFormat format_;
  std::shared_ptr<const std::set<std::string>> names_;  // the reader points to them, so copies share them
  State state_;
  std::string held_;   // not dealt with yet
  std::string space_;  // white space that is text only if text follows
  std::optional<ToolCallReader> reader_;
  bool in_list_ = false;
  bool forced_;
};

// The special tokens that formats consist of. Engines leave special tokens out of the text: they have to be put back.
bool is_tool_marker(std::string_view token);

}  // namespace graft::serving::api
