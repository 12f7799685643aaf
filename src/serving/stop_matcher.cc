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

StopMatcher::StopMatcher(std::vector<std::string> stops, bool keep) : stops_(std::move(stops)), keep_(keep) {}

StopMatcher::Match StopMatcher::push(std::string_view text) {
  if (stops_.empty()) return {std::string(text), false};
  const size_t held = pending_.size();
  pending_ += text;

  size_t begin = std::string::npos;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t found = pending_.find(stop);
    if (found == std::string::npos) continue;
    const size_t found_end = found + stop.size();
    if (found_end < end || (found_end == end && found < begin)) {
      begin = found;
      end = found_end;
    }
  }
  Match match;
  if (begin != std::string::npos) {
    match.stopped = true;
    match.text = keep_ ? pending_.substr(held, end - held) : pending_.substr(0, begin);
    pending_.clear();
    return match;
  }
  size_t rest = 0;
  for (const std::string& stop : stops_) rest = std::max(rest, overlap(pending_, stop));
  match.text = keep_ ? std::string(text) : pending_.substr(0, pending_.size() - rest);
  pending_.erase(0, pending_.size() - rest);
  return match;
}

std::string StopMatcher::finish() { return keep_ ? std::string() : std::exchange(pending_, {}); }

}  // namespace graft::serving
