#pragma once

#include <chrono>
#include <cstdint>

namespace graft::grammar {

// Bounds what a piece of work may cost. XGrammar's loops call checkpoint() (see cmake/FindXGrammar.cmake, which has
// this file included in front of its sources: so this is C++17); within a WorkBudget's life, on its thread, a
// checkpoint throws BudgetExceeded once the thread has spent that much processor time. Time of the processor and not of
// the clock, so that what is refused does not depend on how busy the machine is.
class WorkBudget {
 public:
  explicit WorkBudget(std::chrono::nanoseconds processor_time);
  ~WorkBudget();
  WorkBudget(const WorkBudget&) = delete;
  WorkBudget& operator=(const WorkBudget&) = delete;

  [[nodiscard]] std::chrono::nanoseconds spent() const;
};

struct BudgetExceeded {};

constexpr int kCheckpointsBetweenLooks = 256;  // reading a thread's clock takes as long as some dozens of checkpoints
inline thread_local int checkpoints_left = kCheckpointsBetweenLooks;
void look_at_clock();

inline void checkpoint() {
  if (--checkpoints_left <= 0) look_at_clock();
}

}  // namespace graft::grammar
