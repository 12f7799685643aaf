#include "text/unicode/offset_map.h"

#include <algorithm>

namespace graft::text {

void OffsetMap::replaced(size_t out_begin, size_t out_end, size_t in_begin, size_t in_end) {
  edits_.push_back({out_begin, out_end, in_begin, in_end});
}

std::pair<size_t, size_t> OffsetMap::source(size_t begin, size_t end) const {
  const auto point = [&](size_t out, bool is_end) {
    // The last edit that starts before the byte in question: the one at `out`, or just before an end.
    const auto after = [&](const Edit& edit) { return is_end ? edit.out_begin < out : edit.out_begin <= out; };
    const auto next = std::partition_point(edits_.begin(), edits_.end(), after);
    if (next == edits_.begin()) return out;
    const Edit& edit = *(next - 1);
    if (out > edit.out_end || (!is_end && out == edit.out_end)) return edit.in_end + (out - edit.out_end);
    return is_end ? edit.in_end : edit.in_begin;
  };
  const size_t from = point(begin, false);
  return {from, std::max(from, point(end, true))};
}

}  // namespace graft::text
