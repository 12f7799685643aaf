#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace graft::serving::api {

// What a model's text turns out to be, in order.
struct ToolEvent {
  enum class Kind { kText, kBegin, kArguments } kind = Kind::kText;
  std::string text;  // kText: content; kBegin: the function's name; kArguments: the next piece of the JSON text
};
using ToolEvents = std::vector<ToolEvent>;

// Reads one call as it is generated: {"name": "f", "arguments": {...}}, keys in any order, `parameters` for arguments.
// The begin is told once the name is known and the arguments start, then the arguments piece by piece as they were
// written; arguments that are a JSON string are told decoded and whole.
class ToolCallReader {
 public:
  enum class State { kMore, kDone, kBad };

  // `known`: where not null, other names are kBad, as is a call without arguments: it is no call then but a text that
  // looks like one.
  explicit ToolCallReader(const std::set<std::string>* known) : known_(known) {}
  // Only the arguments are to come.
  static ToolCallReader of_arguments(std::string name, ToolEvents& events);

  // Returns how many bytes of the text belong to the call.
  size_t push(std::string_view text, ToolEvents& events);
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool begun() const { return begun_; }
  [[nodiscard]] const std::string& seen() const { return seen_; }  // the call's text so far

 private:
  enum class At { kStart, kKey, kColon, kValue, kAfter };
  bool take(char c, ToolEvents& events);
  void take_in_value(char c, ToolEvents& events);
  void start_value(char c, ToolEvents& events);
  void end_value(ToolEvents& events);
  void end_object(ToolEvents& events);
  void begin_when_ready(ToolEvents& events);
  void tell_arguments(std::string_view piece, ToolEvents& events);
  [[nodiscard]] bool in_arguments() const { return key_ == "arguments" || key_ == "parameters"; }

  const std::set<std::string>* known_;
  State state_ = State::kMore;
  At at_ = At::kStart;
  std::string seen_, key_, value_, name_, waiting_;
  bool has_name_ = false, has_arguments_ = false, begun_ = false, only_arguments_ = false;
  bool in_value_ = false, in_string_ = false, escaped_ = false;
  char first_ = 0;  // of the value
  int depth_ = 0;
};

}  // namespace graft::serving::api
