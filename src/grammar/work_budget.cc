#include "grammar/work_budget.h"

#include <ctime>

namespace graft::grammar {
namespace {

using std::chrono::nanoseconds;

nanoseconds thread_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

struct Budget {
  bool active = false;
  nanoseconds began{};
  nanoseconds allowed{};
};
thread_local Budget budget;

}  // namespace

WorkBudget::WorkBudget(nanoseconds processor_time) {
  budget = {true, thread_time(), processor_time};
  checkpoints_left = kCheckpointsBetweenLooks;
}

WorkBudget::~WorkBudget() { budget.active = false; }

nanoseconds WorkBudget::spent() const { return thread_time() - budget.began; }

void look_at_clock() {
  checkpoints_left = kCheckpointsBetweenLooks;
  if (budget.active && thread_time() - budget.began > budget.allowed) throw BudgetExceeded{};
}

}  // namespace graft::grammar
