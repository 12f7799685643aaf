#include "serving/fair_queueing.h"

#include <algorithm>
#include <utility>

namespace graft::serving {

struct FairQueueing::Flow {
  Tenant* tenant = nullptr;
  std::map<uint64_t, Sequence*> queue;  // by arrival
  int32_t started = 0;                  // and not finished
  double served = 0;
  FairPlace<Flow> place;

  [[nodiscard]] uint64_t head() const { return queue.begin()->first; }
  [[nodiscard]] bool idle() const { return queue.empty() && started == 0; }
};

struct FairQueueing::Tenant {
  std::unordered_map<uint64_t, std::unique_ptr<Flow>> flows;
  FairSet<Flow> competing;
  double weight = 1;
  double served = 0;  // divided by the weight
  FairPlace<Tenant> place;

  [[nodiscard]] uint64_t head() const { return competing.first()->head(); }
};

FairQueueing::FairQueueing() = default;
FairQueueing::~FairQueueing() = default;

void FairQueueing::add(Sequence& sequence) {
  if (--until_sweep_ <= 0) sweep();
  auto& tenant = tenants_[sequence.tenant];
  if (tenant == nullptr) tenant = std::make_unique<Tenant>();
  if (sequence.weight > 0) tenant->weight = sequence.weight;
  auto& flow = tenant->flows[sequence.flow];
  if (flow == nullptr) {
    flow = std::make_unique<Flow>();
    flow->tenant = tenant.get();
    ++flow_count_;
  }
  const bool tenant_waited = tenant->competing.first() != nullptr;
  const bool flow_waited = !flow->queue.empty();
  if (!flow->queue.emplace(sequence.arrival, &sequence).second) return;
  ++waiting_;
  if (flow_waited) {
    tenant->competing.update(*flow);
  } else {
    tenant->competing.insert(*flow);
  }
  if (tenant_waited) {
    competing_.update(*tenant);
  } else {
    competing_.insert(*tenant);
  }
}

FairQueueing::Flow* FairQueueing::find(const Sequence& sequence) {
  const auto tenant = tenants_.find(sequence.tenant);
  if (tenant == tenants_.end()) return nullptr;
  const auto flow = tenant->second->flows.find(sequence.flow);
  return flow == tenant->second->flows.end() ? nullptr : flow->second.get();
}

bool FairQueueing::remove(Sequence& sequence) {
  Flow* flow = find(sequence);
  if (flow == nullptr || !flow->queue.contains(sequence.arrival)) return false;
  take_out(*flow, sequence);
  return true;
}

Sequence* FairQueueing::next() const {
  const Tenant* tenant = competing_.first();
  return tenant == nullptr ? nullptr : tenant->competing.first()->queue.begin()->second;
}

void FairQueueing::start(Sequence& sequence) {
  Flow* flow = find(sequence);
  take_out(*flow, sequence);
  ++flow->started;
  charge(sequence, kPromptCost * std::max(1, sequence.prompt_size - sequence.cached_tokens));
}

void FairQueueing::serve(const Sequence& sequence, int32_t output_tokens) {
  charge(sequence, kOutputCost * output_tokens);
}

void FairQueueing::finish(const Sequence& sequence) {
  if (Flow* flow = find(sequence)) --flow->started;
}

std::vector<Sequence*> FairQueueing::withdraw(const std::function<bool(const Sequence&)>& condition) {
  std::vector<Sequence*> withdrawn;
  for (const auto& [tenant_key, tenant] : tenants_) {
    for (const auto& [flow_key, flow] : tenant->flows) {
      for (const auto& [arrival, sequence] : flow->queue) {
        if (condition(*sequence)) withdrawn.push_back(sequence);
      }
    }
  }
  std::ranges::sort(withdrawn, {}, [](const Sequence* sequence) { return sequence->arrival; });
  for (Sequence* sequence : withdrawn) take_out(*find(*sequence), *sequence);
  return withdrawn;
}

void FairQueueing::charge(const Sequence& sequence, double cost) {
  Flow* flow = find(sequence);
  if (flow == nullptr) return;
  Tenant& tenant = *flow->tenant;
  flow->served += cost;
  tenant.competing.update(*flow);
  tenant.served += cost / tenant.weight;
  competing_.update(tenant);
}

void FairQueueing::take_out(Flow& flow, Sequence& sequence) {
  Tenant& tenant = *flow.tenant;
  --waiting_;
  if (flow.queue.size() > 1) {
    flow.queue.erase(sequence.arrival);
    tenant.competing.update(flow);
  } else {
    tenant.competing.erase(flow);
    flow.queue.clear();
  }
  if (tenant.competing.first() != nullptr) {
    competing_.update(tenant);
  } else {
    competing_.erase(tenant);
  }
}

// Forgets idle flows that would be lifted over what they have used anyway. Tenants and adapters come and go for ever;
// it runs once for so many additions that its cost does not count.
void FairQueueing::sweep() {
  for (auto& [tenant_key, tenant] : tenants_) {
    FairSet<Flow>& competing = tenant->competing;
    flow_count_ -= std::erase_if(tenant->flows, [&](const auto& entry) {
      if (!entry.second->idle() || entry.second->served > competing.floor()) return false;
      competing.forget(*entry.second);
      return true;
    });
  }
  std::erase_if(tenants_, [&](const auto& entry) {
    if (!entry.second->flows.empty() || entry.second->served > competing_.floor()) return false;
    competing_.forget(*entry.second);
    return true;
  });
  until_sweep_ = kSweepAfter + 2 * static_cast<int64_t>(flow_count_);
}

}  // namespace graft::serving
