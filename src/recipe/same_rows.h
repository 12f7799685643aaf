#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/result.h"
#include "recipe/prepare.h"

namespace graft::recipe {

// Rows that say the same as an earlier one, or as a row that is trained on. "Near": but for case (ASCII) and white
// space.
struct SameRows {
  int64_t exact = 0;
  int64_t near = 0;  // beside the exact ones
  // The first few: {row, the earlier or train row that it equals}.
  std::vector<std::pair<int64_t, int64_t>> examples;
};

struct FoundRows {
  SameRows duplicates;  // among all rows that are used
  SameRows leaks;       // validation and test rows that are train rows as well
};

// By the rows' digests. Equal rows are nearly equal, too, so rows are looked at by ranges of their near digests, each
// in a pass of its own with at most about `rows_at_once` in memory (32 bytes each).
Result<FoundRows> find_same_rows(const PreparedData& data, int64_t rows_at_once = int64_t{1} << 21);

}  // namespace graft::recipe
