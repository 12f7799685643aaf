#include "serving/api/stop_filter.h"

#include <algorithm>
#include <utility>

namespace graft::serving::api {
namespace {

// Length of the longest end of `text` that begins `stop` without being all of it.
size_t partial_match(std::string_view text, std::string_view stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

std::string StopFilter::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  size_t cut = std::string::npos;
  size_t hold = 0;
  for (const auto& stop : stops_) {
    cut = std::min(cut, held_.find(stop));
    hold = std::max(hold, partial_match(held_, stop));
  }
  if (cut != std::string::npos) {
    stopped_ = true;
    held_.resize(cut);
    return std::exchange(held_, {});
  }
  std::string safe = held_.substr(0, held_.size() - hold);
  held_.erase(0, safe.size());
  return safe;
}

std::string StopFilter::finish() { return std::exchange(held_, {}); }

}  // namespace graft::serving::api
