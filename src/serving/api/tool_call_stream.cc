#include "serving/api/tool_call_stream.h"

#include <algorithm>
#include <array>
#include <utility>

namespace graft::serving::api {
namespace {

constexpr std::string_view kHermesBegin = "<tool_call>";
constexpr std::string_view kHermesEnd = "</tool_call>";
constexpr std::string_view kMistralBegin = "[TOOL_CALLS]";
constexpr std::string_view kMistralArguments = "[ARGS]";
constexpr std::string_view kPythonTag = "<|python_tag|>";
constexpr std::string_view kSpaces = " \n\t\r";

// Bytes at the end of `text` that may be the beginning of `marker`.
size_t partial_marker(std::string_view text, std::string_view marker) {
  for (size_t size = std::min(text.size(), marker.size() - 1); size > 0; --size) {
    if (text.substr(text.size() - size) == marker.substr(0, size)) return size;
  }
  return 0;
}

void drop_spaces(std::string& text) { text.erase(0, std::min(text.find_first_not_of(kSpaces), text.size())); }

}  // namespace

ToolCallStream::ToolCallStream(ToolFormat format, std::set<std::string> names, bool forced)
    : format_(format),
      names_(std::make_shared<const std::set<std::string>>(std::move(names))),
      state_(marked() ? State::kText : State::kLead),
      forced_(forced) {
  if (!forced) return;
  state_ = format == ToolFormat::kMistral ? State::kName : State::kCall;
  if (state_ == State::kCall) begin_call();
}

ToolEvents ToolCallStream::push(std::string_view text) {
  held_ += text;
  ToolEvents events;
  while (!held_.empty() && step(events)) {
  }
  return events;
}

bool ToolCallStream::step(ToolEvents& events) {
  switch (state_) {
    case State::kText:
      return find_marker(events);
    case State::kLead:
      return lead(events);
    case State::kName:
      return read_name(events);
    case State::kCall:
      return read_call(events);
    case State::kBetween:
      return between(events);
    case State::kRest:
      tell_text(std::exchange(held_, {}), events);
      return false;
  }
  return false;
}

// Text up to the marker of a call.
bool ToolCallStream::find_marker(ToolEvents& events) {
  const std::string_view marker = format_ == ToolFormat::kHermes ? kHermesBegin : kMistralBegin;
  const size_t found = held_.find(marker);
  if (found == std::string::npos) {
    const size_t sure = held_.size() - partial_marker(held_, marker);
    tell_text(held_.substr(0, sure), events);
    held_.erase(0, sure);
    return false;
  }
  tell_text(held_.substr(0, found), events);
  space_.clear();
  held_.erase(0, found + marker.size());
  if (format_ == ToolFormat::kMistral) {
    state_ = State::kName;
  } else {
    begin_call();
  }
  return true;
}

// The beginning of an answer that is a call as a whole, or no call.
bool ToolCallStream::lead(ToolEvents& events) {
  const size_t begin = held_.find_first_not_of(kSpaces);
  if (begin == std::string::npos) return false;
  const std::string_view rest = std::string_view(held_).substr(begin);
  if (rest.starts_with(kPythonTag)) {
    held_.erase(0, begin + kPythonTag.size());
    return true;
  }
  if (kPythonTag.starts_with(rest)) return false;
  if (rest.front() == '[' && !in_list_) {
    const size_t inner = rest.find_first_not_of(kSpaces, 1);
    if (inner == std::string_view::npos) return false;
    if (rest[inner] == '{') {
      in_list_ = true;
      held_.erase(0, begin + inner);
      return true;
    }
  }
  if (rest.front() == '{') {
    begin_call();
    return true;
  }
  state_ = State::kRest;
  static_cast<void>(events);
  return true;
}

// Mistral: what follows the marker is a list of calls, or a name with arguments.
bool ToolCallStream::read_name(ToolEvents& events) {
  drop_spaces(held_);
  if (held_.empty()) return false;
  if (held_.front() == '[') {
    in_list_ = true;
    held_.erase(0, 1);
    state_ = State::kBetween;
    return true;
  }
  if (held_.front() == '{') {
    begin_call();
    return true;
  }
  const size_t arguments = held_.find('{');
  if (arguments == std::string::npos) return false;
  std::string name = held_.substr(0, arguments);
  if (const size_t marker = name.find(kMistralArguments); marker != std::string::npos) name.resize(marker);
  name.resize(name.find_last_not_of(kSpaces) + 1);
  held_.erase(0, arguments);
  reader_ = ToolCallReader::of_arguments(std::move(name), events);
  state_ = State::kCall;
  return true;
}

void ToolCallStream::begin_call() {
  // Without a marker, an object is a call only if it names a function.
  reader_.emplace(marked() || forced_ ? nullptr : names_.get());
  state_ = State::kCall;
}

bool ToolCallStream::read_call(ToolEvents& events) {
  const size_t used = reader_->push(held_, events);
  held_.erase(0, used);
  if (reader_->state() == ToolCallReader::State::kMore) return false;
  if (reader_->state() == ToolCallReader::State::kBad) {
    if (!reader_->begun()) held_.insert(0, reader_->seen());
    state_ = State::kRest;
  } else {
    state_ = State::kBetween;
  }
  return true;
}

// What separates calls: nothing of it is text.
bool ToolCallStream::between(ToolEvents& events) {
  if (format_ == ToolFormat::kHermes) {
    drop_spaces(held_);
    if (held_.empty() || (held_.size() < kHermesEnd.size() && kHermesEnd.starts_with(held_))) return false;
    if (held_.starts_with(kHermesEnd)) held_.erase(0, kHermesEnd.size());
    state_ = State::kText;
    drop_spaces(held_);
    return true;
  }
  held_.erase(0, std::min(held_.find_first_not_of(" \n\t\r,;"), held_.size()));
  if (held_.empty()) return false;
  if (held_.front() == '{') {
    begin_call();
  } else if (held_.front() == ']' && in_list_) {
    held_.erase(0, 1);
    in_list_ = false;
    state_ = format_ == ToolFormat::kMistral ? State::kText : State::kRest;
  } else {
    state_ = format_ == ToolFormat::kMistral ? State::kText : State::kRest;
  }
  static_cast<void>(events);
  return true;
}

// White space is kept until text follows it.
void ToolCallStream::tell_text(std::string text, ToolEvents& events) {
  text.insert(0, space_);
  const size_t end = text.find_last_not_of(kSpaces) + 1;
  space_ = text.substr(end);
  text.resize(end);
  if (!text.empty()) events.push_back({ToolEvent::Kind::kText, std::move(text)});
}

ToolEvents ToolCallStream::finish() {
  ToolEvents events;
  std::string rest = std::exchange(held_, {});
  if (state_ == State::kCall && !reader_->begun()) rest = reader_->seen() + rest;
  if (state_ == State::kBetween || (state_ == State::kCall && reader_->begun())) return events;
  rest.insert(0, space_);
  if (!rest.empty()) events.push_back({ToolEvent::Kind::kText, std::move(rest)});
  return events;
}

bool is_tool_marker(std::string_view token) {
  constexpr std::array<std::string_view, 5> kMarkers{kHermesBegin, kHermesEnd, kMistralBegin, kMistralArguments,
                                                     kPythonTag};
  return std::ranges::find(kMarkers, token) != kMarkers.end();
}

}  // namespace graft::serving::api
