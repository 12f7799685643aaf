#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/stages/pre_tokenizer.h"

namespace graft::text {

// What becomes of the delimiter that a pattern found, in the words of tokenizer.json.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Result<SplitBehavior> split_behavior_from(std::string_view name);

// A stretch of text that either is a delimiter or lies between two.
struct Stretch {
  size_t begin = 0;
  size_t end = 0;
  bool is_match = false;
};

// Appends the pieces that adjacent stretches, which cover the text, are merged into.
void apply_behavior(const std::vector<Stretch>& stretches, SplitBehavior behavior, std::vector<Piece>& out);

}  // namespace graft::text
