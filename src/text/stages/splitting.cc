#include "text/stages/splitting.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/strings.h"

namespace graft::text {
namespace {

void push(std::vector<Piece>& out, size_t begin, size_t end) {
  if (begin < end) out.push_back({begin, end});
}

// Neighbours of one kind become one piece.
void contiguous(const std::vector<Stretch>& stretches, std::vector<Piece>& out) {
  for (size_t i = 0; i < stretches.size();) {
    size_t last = i;
    while (last + 1 < stretches.size() && stretches[last + 1].is_match == stretches[i].is_match) ++last;
    push(out, stretches[i].begin, stretches[last].end);
    i = last + 1;
  }
}

// A delimiter joins the text before it; of two in a row only the first does.
void with_previous(const std::vector<Stretch>& stretches, std::vector<Piece>& out) {
  for (size_t i = 0; i < stretches.size(); ++i) {
    const bool joined = i + 1 < stretches.size() && !stretches[i].is_match && stretches[i + 1].is_match;
    push(out, stretches[i].begin, stretches[joined ? i + 1 : i].end);
    if (joined) ++i;
  }
}

// The mirror image: of two in a row only the last joins the text behind them.
void with_next(const std::vector<Stretch>& stretches, std::vector<Piece>& out) {
  for (size_t i = 0; i < stretches.size(); ++i) {
    const bool joined = i + 1 < stretches.size() && stretches[i].is_match && !stretches[i + 1].is_match;
    push(out, stretches[i].begin, stretches[joined ? i + 1 : i].end);
    if (joined) ++i;
  }
}

}  // namespace

Result<SplitBehavior> split_behavior_from(std::string_view name) {
  static const std::array<std::string, 5> names = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                                   "Contiguous"};
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return invalid("unknown behavior '" + printable(name) + "'" + suggestion(name, names));
  return static_cast<SplitBehavior>(found - names.begin());
}

void apply_behavior(const std::vector<Stretch>& stretches, SplitBehavior behavior, std::vector<Piece>& out) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Stretch& s : stretches) push(out, s.begin, s.end);
      return;
    case SplitBehavior::kRemoved:
      for (const Stretch& s : stretches) {
        if (!s.is_match) push(out, s.begin, s.end);
      }
      return;
    case SplitBehavior::kContiguous:
      return contiguous(stretches, out);
    case SplitBehavior::kMergedWithPrevious:
      return with_previous(stretches, out);
    case SplitBehavior::kMergedWithNext:
      return with_next(stretches, out);
  }
}

}  // namespace graft::text
