#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "serving/fair_set.h"
#include "serving/scheduling_policy.h"

namespace graft::serving {

// Fair queueing over tenants, by their weights, and within a tenant over its adapters, equally; in order of arrival
// within one adapter (a flow). Virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", OSDI
// 2024): a flow pays for what it is given when it is given, kPromptCost for each prompt token that is computed when a
// sequence starts, kOutputCost for each output token when it is computed; work that is repeated after a preemption is
// free. The flow that has paid least starts next. One that comes after a pause is lifted to the least of those that
// wait, so that silence earns no credit; what it has used before is not forgotten.
//
// Bounds, with P the largest cost of a prompt, O that of an output and R the most sequences that run at once, so that
// B = P + R * O is the most that a flow can be given after it was last the least served one:
// - fairness: while two flows of a tenant both wait, the difference of what they are given is never over 2 * B; while
//   two tenants both wait, the same holds for what they are given, each divided by its weight;
// - no starvation: the first sequence of a flow starts after no more than 2 * B for each other flow of its tenant, and
//   tenants likewise with B divided by the weight, however long the others' queues are.
// Every operation takes logarithmic time, except withdraw().
class FairQueueing final : public SchedulingPolicy {
 public:
  static constexpr double kPromptCost = 1;
  static constexpr double kOutputCost = 2;

  FairQueueing();
  ~FairQueueing() override;

  void add(Sequence& sequence) override;
  bool remove(Sequence& sequence) override;
  [[nodiscard]] Sequence* next() const override;
  void start(Sequence& sequence) override;
  void serve(const Sequence& sequence, int32_t output_tokens) override;
  void finish(const Sequence& sequence) override;
  std::vector<Sequence*> withdraw(const std::function<bool(const Sequence&)>& condition) override;
  [[nodiscard]] int32_t waiting() const override { return waiting_; }

  [[nodiscard]] size_t flows() const { return flow_count_; }  // remembered, over all tenants

 private:
  static constexpr int64_t kSweepAfter = 64;
  struct Flow;
  struct Tenant;
  Flow* find(const Sequence& sequence);
  void charge(const Sequence& sequence, double cost);
  void take_out(Flow& flow, Sequence& sequence);
  void sweep();

  std::unordered_map<uint64_t, std::unique_ptr<Tenant>> tenants_;
  FairSet<Tenant> competing_;
  int32_t waiting_ = 0;
  size_t flow_count_ = 0;
  int64_t until_sweep_ = kSweepAfter;  // additions
};

}  // namespace graft::serving
