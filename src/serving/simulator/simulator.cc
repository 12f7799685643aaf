#include "serving/simulator/simulator.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "serving/adapter_pool.h"
#include "serving/scheduler.h"
#include "serving/simulator/recorder.h"

namespace graft::serving::simulator {
namespace {

constexpr int64_t kAdapterBytes = int64_t{4} << 20;
constexpr int32_t kHours = 24;

class SimulatedAdapter final : public runtime::AdapterWeights {
 public:
  [[nodiscard]] int64_t bytes() const override { return kAdapterBytes; }
};

struct Job : Sequence {
  double asked_at = 0;
  int32_t adapter_index = 0;
  int32_t max_output = 0;
};

std::chrono::steady_clock::time_point time_point(double seconds) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9)));
}

// An engine without threads, model and clock. Its loop is the engine's: take in what came, update the adapters, plan a
// step; but a step only moves the clock.
class Machine {
 public:
  Machine(const MachineConfig& config, const WorkloadConfig& workload, double hour_seconds, uint64_t seed)
      : config_(config),
        shared_prefix_(workload.shared_prefix),
        workload_(workload, hour_seconds, seed),
        hour_seconds_(hour_seconds),
        policy_(make_policy(config.scheduling)),
        blocks_(config.num_blocks, config.block_size, true),
        scheduler_({config.max_running, config.max_step_tokens, 1}, *policy_, blocks_),
        adapters_({config.max_active_adapters, 0,
                   std::chrono::nanoseconds(static_cast<int64_t>(config.adapter_cycle_s * 1e9))},
                  serials_),
        coming_(workload_.next()) {}

  Day run() {
    for (int32_t hour = 1; hour <= kHours; ++hour) {
      const double end = hour * hour_seconds_;
      while (now_ < end) turn(end);
      recorder_.end_hour(hour_seconds_,
                         {static_cast<int64_t>(scheduler_.preemptions()), static_cast<int64_t>(adapters_.loads()),
                          static_cast<int64_t>(adapters_.evictions())});
    }
    return recorder_.day();
  }

 private:
  void turn(double end) {
    while (coming_.time <= now_) {
      receive(coming_);
      coming_ = workload_.next();
    }
    finish_loads();
    update_adapters();
    const auto planned = scheduler_.plan();
    if (planned.empty()) {
      now_ = std::min({end, coming_.time, loads_.empty() ? end : loads_.front().second});
      return;
    }
    const std::vector<PlannedSlice> plan(planned.begin(), planned.end());
    const double seconds = step_seconds(plan);
    now_ += seconds;
    recorder_.step(seconds, plan.size());
    for (const PlannedSlice& slice : plan) advance(slice);
  }

  void receive(const Arrival& arrival) {
    recorder_.asked(arrival.adapter);
    if (jobs_.size() >= static_cast<size_t>(config_.max_concurrent)) return recorder_.refused(arrival.adapter);
    auto job = std::make_unique<Job>();
    job->arrival = ++arrivals_;
    job->asked_at = arrival.time;
    job->adapter_index = arrival.adapter;
    job->max_output = arrival.output;
    job->tenant = job->scope.salt = static_cast<uint64_t>(arrival.tenant) + 1;
    job->flow = static_cast<uint64_t>(arrival.adapter);
    job->prompt_size = arrival.prompt;
    for (int32_t i = 0; i < arrival.prompt; ++i) {
      job->tokens.push_back(i < shared_prefix_ ? -1 - i : static_cast<int32_t>(arrivals_));
    }
    AdapterFiles files;
    files.weights.size = kAdapterBytes;
    adapters_.want(*job, {std::to_string(arrival.adapter), "local", ""}, files);
    jobs_.emplace(job->arrival, std::move(job));
  }

  void finish_loads() {
    while (!loads_.empty() && loads_.front().second <= now_) {
      adapters_.finish_load(loads_.front().first, weights_, time_point(loads_.front().second));
      loads_.pop_front();
    }
  }

  void update_adapters() {
    AdapterPool::Events events = adapters_.advance(time_point(now_));
    for (Sequence* sequence : events.ready) scheduler_.add(*sequence);
    for (const AdapterEntry* entry : events.load) {
      const double begin = loads_.empty() ? now_ : std::max(now_, loads_.back().second);
      loads_.emplace_back(entry->serial, begin + config_.adapter_load_ms / 1000);
    }
    if (events.drain == nullptr) return;
    const auto waits_its_turn = [&](const Sequence& sequence) {
      return sequence.adapter == events.drain && sequence.arrival > events.drain_after;
    };
    for (Sequence* sequence : scheduler_.withdraw(waits_its_turn)) adapters_.take_back(*sequence);
  }

  [[nodiscard]] double step_seconds(const std::vector<PlannedSlice>& plan) const {
    double tokens = 0;
    std::unordered_set<const AdapterEntry*> adapters;
    for (const PlannedSlice& slice : plan) {
      tokens += slice.count;
      adapters.insert(slice.sequence->adapter);
    }
    const StepCost& cost = config_.cost;
    return 1e-6 * (cost.fixed + cost.token * tokens + cost.sequence * static_cast<double>(plan.size()) +
                   cost.adapter * static_cast<double>(adapters.size()));
  }

  void advance(const PlannedSlice& slice) {
    auto& job = static_cast<Job&>(*slice.sequence);
    scheduler_.commit(slice);
    if (job.pending() > 0) return;
    if (job.size() == job.prompt_size) {
      recorder_.first_token(job.adapter_index, now_ - job.asked_at);
      recorder_.prompt(job.prompt_size, job.cached_tokens);
    }
    recorder_.output_token();
    job.tokens.push_back(static_cast<int32_t>(job.arrival));
    if (job.size() < job.prompt_size + job.max_output) return;
    recorder_.completed(job.adapter_index);
    scheduler_.remove(job);
    adapters_.release(job);
    jobs_.erase(job.arrival);
  }

  MachineConfig config_;
  int32_t shared_prefix_;
  Workload workload_;
  double hour_seconds_;
  std::unique_ptr<SchedulingPolicy> policy_;
  runtime::BlockPool blocks_;
  Scheduler scheduler_;
  std::atomic<uint64_t> serials_{0};
  AdapterPool adapters_;
  Arrival coming_;
  Recorder recorder_;
  std::shared_ptr<const runtime::AdapterWeights> weights_ = std::make_shared<SimulatedAdapter>();
  std::deque<std::pair<uint64_t, double>> loads_;  // serial, when it is done
  std::unordered_map<uint64_t, std::unique_ptr<Job>> jobs_;
  double now_ = 0;
  uint64_t arrivals_ = 0;
};

}  // namespace

Day simulate_day(const MachineConfig& machine, const WorkloadConfig& workload, double hour_seconds, uint64_t seed) {
  return Machine(machine, workload, hour_seconds, seed).run();
}

}  // namespace graft::serving::simulator
