#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/cpu/parallel.h"

namespace graft::ops {

// body(row) for every row, in parallel where there are enough to be worth it.
template <class F>
void for_rows(int64_t rows, const F& body) {
  constexpr int64_t kRowsPerTask = 32;
  const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  cpu::parallel_for(tasks, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < end; ++row) body(row);
  });
}

}  // namespace graft::ops
