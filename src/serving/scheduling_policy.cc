#include "serving/scheduling_policy.h"

#include "serving/fair_queueing.h"

namespace graft::serving {

std::unique_ptr<SchedulingPolicy> make_policy(Scheduling scheduling) {
  if (scheduling == Scheduling::kFair) return std::make_unique<FairQueueing>();
  return std::make_unique<FirstComeFirstServed>();
}

void FirstComeFirstServed::add(Sequence& sequence) { queue_.emplace(sequence.arrival, &sequence); }
bool FirstComeFirstServed::remove(Sequence& sequence) { return queue_.erase(sequence.arrival) > 0; }
Sequence* FirstComeFirstServed::next() const { return queue_.empty() ? nullptr : queue_.begin()->second; }
void FirstComeFirstServed::start(Sequence& sequence) { queue_.erase(sequence.arrival); }
void FirstComeFirstServed::serve(const Sequence& /*sequence*/, int32_t /*output_tokens*/) {}
void FirstComeFirstServed::finish(const Sequence& /*sequence*/) {}

std::vector<Sequence*> FirstComeFirstServed::withdraw(const std::function<bool(const Sequence&)>& condition) {
  std::vector<Sequence*> withdrawn;
  std::erase_if(queue_, [&](const auto& place) {
    if (!condition(*place.second)) return false;
    withdrawn.push_back(place.second);
    return true;
  });
  return withdrawn;
}

}  // namespace graft::serving
