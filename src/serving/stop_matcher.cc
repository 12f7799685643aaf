#include "serving/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace graft::serving {
namespace {

// Length of the longest end of `text` that is a beginning of `stop`, but not all of it.
size_t overlap(std::string_view text, std::string_view stop) {
  for (size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

StopMatcher::Match StopMatcher::push(std::string_view text) {
  if (stops_.empty()) return {text.size(), false};
  const size_t before = pending_.size();
  pending_ += text;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t found = pending_.find(stop);
    if (found != std::string::npos) end = std::min(end, found + stop.size());
  }
  if (end != std::string::npos) return {end - before, true};  // it ends in the new text, or it would have been found

  size_t rest = 0;
  for (const std::string& stop : stops_) rest = std::max(rest, overlap(pending_, stop));
  pending_.erase(0, pending_.size() - rest);
  return {text.size(), false};
}

}  // namespace graft::serving
