#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "serving/scheduling.h"
#include "serving/sequence.h"

namespace graft::serving {

// Who starts next. The policy is the queue of the sequences that have never started; the scheduler is the mechanism: it
// knows budgets, blocks and chunks, but no preference. Once started, a sequence keeps the rank of its start: the newest
// one is preempted first, and whoever was preempted resumes before anybody else starts. So the order of all sequences
// is strict, and does not change under those that run. Belongs to one thread.
class SchedulingPolicy {
 public:
  virtual ~SchedulingPolicy() = default;

  virtual void add(Sequence& sequence) = 0;     // it waits from now on, in its place by arrival
  virtual bool remove(Sequence& sequence) = 0;  // false: it did not wait
  // Null where nobody waits. Stays the same until it starts, is removed, or running sequences are served: a newcomer
  // never gets ahead of the one that is being held up for want of room.
  [[nodiscard]] virtual Sequence* next() const = 0;
  virtual void start(Sequence& sequence) = 0;  // next() runs: it leaves the queue; its cached_tokens are known
  virtual void serve(const Sequence& sequence, int32_t output_tokens) = 0;  // a started one got so far
  virtual void finish(const Sequence& sequence) = 0;                        // a started one has left for good
  // Takes out those that satisfy the condition.
  virtual std::vector<Sequence*> withdraw(const std::function<bool(const Sequence&)>& condition) = 0;
  [[nodiscard]] virtual int32_t waiting() const = 0;
};

std::unique_ptr<SchedulingPolicy> make_policy(Scheduling scheduling);

class FirstComeFirstServed final : public SchedulingPolicy {
 public:
  void add(Sequence& sequence) override;
  bool remove(Sequence& sequence) override;
  [[nodiscard]] Sequence* next() const override;
  void start(Sequence& sequence) override;
  void serve(const Sequence& sequence, int32_t output_tokens) override;
  void finish(const Sequence& sequence) override;
  std::vector<Sequence*> withdraw(const std::function<bool(const Sequence&)>& condition) override;
  [[nodiscard]] int32_t waiting() const override { return static_cast<int32_t>(queue_.size()); }

 private:
  std::map<uint64_t, Sequence*> queue_;  // by arrival
};

}  // namespace graft::serving
