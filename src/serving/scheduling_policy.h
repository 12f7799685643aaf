#pragma once

#include "serving/sequence.h"

namespace graft::serving {

// Who is served first. The scheduler is the mechanism: it knows budgets, blocks and chunks, but no preference.
class SchedulingPolicy {
 public:
  virtual ~SchedulingPolicy() = default;
  // A strict order that must not change while the sequences are with the scheduler. The first one starts first, and the
  // last one is preempted first.
  [[nodiscard]] virtual bool precedes(const Sequence& a, const Sequence& b) const = 0;
};

class FirstComeFirstServed final : public SchedulingPolicy {
 public:
  [[nodiscard]] bool precedes(const Sequence& a, const Sequence& b) const override { return a.arrival < b.arrival; }
};

}  // namespace graft::serving
