#include "serving/api/tool_call_reader.h"

#include <utility>

#include "serving/api/json_text.h"

namespace graft::serving::api {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// A JSON string's value; what is no JSON string is itself.
std::string decoded(const std::string& quoted) {
  const Json value = Json::parse(quoted, nullptr, false);
  return value.is_string() ? value.get<std::string>() : quoted;
}

}  // namespace

ToolCallReader ToolCallReader::of_arguments(std::string name, ToolEvents& events) {
  ToolCallReader reader(nullptr);
  reader.only_arguments_ = true;
  reader.name_ = std::move(name);
  reader.has_name_ = reader.has_arguments_ = true;
  reader.key_ = "arguments";
  reader.at_ = At::kValue;
  reader.begin_when_ready(events);
  return reader;
}

size_t ToolCallReader::push(std::string_view text, ToolEvents& events) {
  size_t used = 0;
  const size_t before = events.size();
  while (used < text.size() && state_ == State::kMore) {
    if (!take(text[used], events)) break;
    seen_ += text[used++];
  }
  // Neighbouring pieces of arguments become one.
  ToolEvents joined(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(before));
  for (size_t i = before; i < events.size(); ++i) {
    const bool follows = joined.size() > before && joined.back().kind == ToolEvent::Kind::kArguments &&
                         events[i].kind == ToolEvent::Kind::kArguments;
    if (follows) {
      joined.back().text += events[i].text;
    } else {
      joined.push_back(std::move(events[i]));
    }
  }
  events = std::move(joined);
  return used;
}

// false: the character does not belong to the call.
bool ToolCallReader::take(char c, ToolEvents& events) {
  if (in_value_) {
    // A number or a word ends in front of what follows it.
    const bool word = first_ != '"' && first_ != '{' && first_ != '[';
    if (!word || (c != ',' && c != '}' && !is_space(c))) {
      take_in_value(c, events);
      return true;
    }
    end_value(events);
    if (state_ != State::kMore) return false;
  }
  if (is_space(c)) return true;
  switch (at_) {
    case At::kStart:
      at_ = At::kKey;
      if (c != '{') state_ = State::kBad;
      break;
    case At::kKey:
      if (c == '}' && key_.empty()) {
        end_object(events);
      } else if (c == '"') {
        start_value(c, events);
      } else {
        state_ = State::kBad;
      }
      break;
    case At::kColon:
      at_ = At::kValue;
      if (c != ':') state_ = State::kBad;
      break;
    case At::kValue:
      start_value(c, events);
      break;
    case At::kAfter:
      if (c == '}') {
        end_object(events);
      } else if (c == ',') {
        key_.clear();
        at_ = At::kKey;
      } else {
        state_ = State::kBad;
      }
      break;
  }
  return true;
}

void ToolCallReader::start_value(char c, ToolEvents& events) {
  in_value_ = true;
  first_ = c;
  value_.clear();
  depth_ = 0;
  in_string_ = escaped_ = false;
  if (at_ == At::kValue && in_arguments()) {
    has_arguments_ = true;
    begin_when_ready(events);
  }
  take_in_value(c, events);
}

void ToolCallReader::take_in_value(char c, ToolEvents& events) {
  const bool container = first_ == '{' || first_ == '[';
  const bool passes = container && at_ == At::kValue && in_arguments();
  if (passes) {
    tell_arguments(std::string_view(&c, 1), events);
  } else {
    value_ += c;
  }
  if (in_string_) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      if (depth_ == 0) end_value(events);
    }
    return;
  }
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if ((c == '}' || c == ']') && --depth_ == 0) end_value(events);
}

void ToolCallReader::end_value(ToolEvents& events) {
  in_value_ = false;
  if (at_ == At::kKey) {
    key_ = decoded(value_);
    at_ = At::kColon;
    return;
  }
  at_ = At::kAfter;
  if (key_ == "name" && first_ == '"') {
    name_ = decoded(value_);
    has_name_ = true;
    if (known_ != nullptr && !known_->contains(name_)) state_ = State::kBad;
    if (state_ == State::kMore && has_arguments_) begin_when_ready(events);
  } else if (in_arguments() && first_ != '{' && first_ != '[') {
    tell_arguments(first_ == '"' ? decoded(value_) : value_ == "null" ? "{}" : value_, events);
  }
  if (only_arguments_) state_ = State::kDone;
}

void ToolCallReader::end_object(ToolEvents& events) {
  if (!has_name_ || (known_ != nullptr && !has_arguments_)) {
    state_ = State::kBad;
    return;
  }
  if (!has_arguments_) {
    has_arguments_ = true;
    begin_when_ready(events);
    tell_arguments("{}", events);
  }
  state_ = State::kDone;
}

void ToolCallReader::begin_when_ready(ToolEvents& events) {
  if (begun_ || !has_name_ || !has_arguments_) return;
  begun_ = true;
  events.push_back({ToolEvent::Kind::kBegin, name_});
  if (!waiting_.empty()) events.push_back({ToolEvent::Kind::kArguments, std::exchange(waiting_, {})});
}

void ToolCallReader::tell_arguments(std::string_view piece, ToolEvents& events) {
  if (begun_) {
    events.push_back({ToolEvent::Kind::kArguments, std::string(piece)});
  } else {
    waiting_ += piece;
  }
}

}  // namespace graft::serving::api
