// What must hold of every schedule, over random workloads: budgets, blocks, progress, fairness.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>

#include "serving/fair_queueing.h"
#include "serving/scheduler.h"

namespace graft::serving {
namespace {

using runtime::LogitRows;

struct Job : Sequence {
  int32_t max_new = 1;
  int32_t high_water = 0;  // most tokens that were ever computed
};

struct Workload {
  StepLimits limits;
  int32_t num_blocks = 0, block_size = 0;
  bool cache = false;
  Scheduling scheduling = Scheduling::kFair;
  int32_t max_prompt = 1, max_new = 1;
};

Workload random_workload(std::mt19937& random) {
  const auto between = [&](int32_t low, int32_t high) {
    return low + static_cast<int32_t>(random() % static_cast<uint32_t>(high - low + 1));
  };
  Workload w;
  w.limits = {between(1, 12), between(1, 40), between(1, 12)};
  w.block_size = between(1, 6);
  w.max_prompt = between(1, 30);
  w.max_new = between(1, 20);
  const int32_t largest = (w.max_prompt + w.max_new + w.block_size - 1) / w.block_size;
  w.num_blocks = between(largest, 4 * largest);  // everybody alone fits, together they often do not
  w.cache = random() % 2 == 0;
  w.scheduling = random() % 2 == 0 ? Scheduling::kFair : Scheduling::kFirstComeFirstServed;
  return w;
}

class World {
 public:
  World(const Workload& workload, uint32_t seed)
      : workload_(workload),
        random_(seed),
        policy_(make_policy(workload.scheduling)),
        pool_(workload.num_blocks, workload.block_size, workload.cache),
        scheduler_(workload.limits, *policy_, pool_) {}

  void run(int jobs) {
    int to_come = jobs;
    int64_t steps = 0;
    while (to_come > 0 || !alive_.empty()) {
      for (uint32_t n = random_() % 3; n > 0 && to_come > 0; --n, --to_come) add();
      if (random_() % 20 == 0 && !alive_.empty()) cancel(*alive_.begin()->second);
      step();
      if (::testing::Test::HasFatalFailure()) return;
      ASSERT_LT(++steps, 1'000'000);
    }
    EXPECT_EQ(finished_ + cancelled_, jobs);
    EXPECT_EQ(pool_.available(), workload_.num_blocks);
    EXPECT_TRUE(scheduler_.idle());
  }

 private:
  int32_t upto(int32_t n) { return 1 + static_cast<int32_t>(random_() % static_cast<uint32_t>(n)); }

  void add() {
    auto job = std::make_unique<Job>();
    job->arrival = ++arrivals_;
    job->tenant = random_() % 3;
    job->flow = random_() % 4;
    job->weight = 1.0 + static_cast<double>(job->tenant);
    job->prompt_size = upto(workload_.max_prompt);
    job->max_new = upto(workload_.max_new);
    for (int32_t i = 0; i < job->prompt_size; ++i) job->tokens.push_back(static_cast<int32_t>(i + random_() % 2));
    job->wants_prompt_logprobs = random_() % 4 == 0;
    scheduler_.add(*job);
    alive_.emplace(job->arrival, std::move(job));
  }

  void cancel(Job& job) {
    scheduler_.remove(job);
    EXPECT_EQ(job.blocks.size(), 0);
    alive_.erase(job.arrival);
    ++cancelled_;
  }

  void step() {
    const auto planned = scheduler_.plan();
    const std::vector<PlannedSlice> plan(planned.begin(), planned.end());
    ASSERT_EQ(plan.empty(), scheduler_.idle());
    check(plan);
    for (const PlannedSlice& slice : plan) advance(slice);
  }

  void check(const std::vector<PlannedSlice>& plan) {
    int32_t tokens = 0;
    int32_t rows = 0;
    std::set<const Sequence*> seen;
    for (const PlannedSlice& slice : plan) {
      ASSERT_GE(slice.count, 1);
      ASSERT_LE(slice.count, slice.sequence->pending());
      ASSERT_TRUE(seen.insert(slice.sequence).second);
      ASSERT_GE(slice.sequence->blocks.size(), pool_.blocks_for(slice.sequence->computed + slice.count));
      tokens += slice.count;
      if (slice.logits == LogitRows::kAll) rows += slice.count;
      if (slice.logits == LogitRows::kNone) {
        ASSERT_LT(slice.count, slice.sequence->pending());
      }
    }
    ASSERT_LE(tokens, std::max(1, workload_.limits.max_step_tokens));
    ASSERT_LE(rows, workload_.limits.max_logit_rows);
    ASSERT_LE(scheduler_.running(), workload_.limits.max_running);
    // Every block is free, cached, or held by somebody who may write to it.
    std::set<int32_t> held;
    int32_t holders = 0;
    for (const auto& [arrival, job] : alive_) {
      held.insert(job->blocks.ids().begin(), job->blocks.ids().end());
      holders += job->blocks.size() > 0 ? 1 : 0;
      if (job->decoding()) {
        ASSERT_TRUE(seen.contains(job.get())) << "a decode was left out";
      }
    }
    ASSERT_EQ(pool_.available() + static_cast<int32_t>(held.size()), workload_.num_blocks);
    ASSERT_EQ(holders, scheduler_.running());
    ASSERT_EQ(scheduler_.running() + scheduler_.waiting(), static_cast<int32_t>(alive_.size()));
  }

  void advance(const PlannedSlice& slice) {
    auto& job = static_cast<Job&>(*slice.sequence);
    scheduler_.commit(slice);
    job.high_water = std::max(job.high_water, job.computed);
    if (slice.logits == LogitRows::kAll) job.prompt_logprobs = std::max(job.prompt_logprobs, job.computed + 1);
    if (job.pending() > 0) return;
    job.tokens.push_back(1000 + job.size());
    if (job.size() < job.prompt_size + job.max_new) return;
    scheduler_.remove(job);
    ++finished_;
    alive_.erase(job.arrival);
  }

  Workload workload_;
  std::mt19937 random_;
  std::unique_ptr<SchedulingPolicy> policy_;
  runtime::BlockPool pool_;
  Scheduler scheduler_;
  std::map<uint64_t, std::unique_ptr<Job>> alive_;
  uint64_t arrivals_ = 0;
  int finished_ = 0;
  int cancelled_ = 0;
};

TEST(SchedulerProperties, BudgetsHoldBlocksAreConservedAndEveryRequestEnds) {
  std::mt19937 random(2026);
  for (uint32_t round = 0; round < 300; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    World world(random_workload(random), round);
    world.run(30);
    if (HasFailure()) return;
  }
}

// Flows that always have sequences waiting, and what each of them has been given.
class Backlog {
 public:
  Backlog(StepLimits limits, int32_t num_blocks, uint32_t seed)
      : limits_(limits), random_(seed), pool_(num_blocks, 4, false), scheduler_(limits, policy_, pool_) {}

  static constexpr int32_t kMaxPrompt = 40;
  static constexpr int32_t kMaxNew = 30;

  void keep(uint64_t tenant, uint64_t flow, double weight, int32_t prompt, int32_t max_new) {
    flows_.push_back({tenant, flow, weight, prompt, max_new});
  }

  // The most a flow can be given after it was last the least served one; see fair_queueing.h.
  [[nodiscard]] double bound() const {
    return FairQueueing::kPromptCost * kMaxPrompt + limits_.max_running * FairQueueing::kOutputCost * kMaxNew;
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      for (const Kind& kind : flows_) {
        while (waiting_[{kind.tenant, kind.flow}] <= limits_.max_running) add(kind);
      }
      const auto planned = scheduler_.plan();
      const std::vector<PlannedSlice> plan(planned.begin(), planned.end());
      for (const PlannedSlice& slice : plan) advance(slice);
      record();
    }
  }

  // How far the difference of what two flows (or tenants, by weight) were given strayed in any interval.
  [[nodiscard]] double largest_unfairness(bool of_tenants) const {
    double largest = 0;
    const auto& histories = of_tenants ? tenant_history_ : flow_history_;
    for (const auto& [a, first] : histories) {
      for (const auto& [b, second] : histories) {
        if (!of_tenants && a.first != b.first) continue;
        double low = 0;
        double high = 0;
        for (size_t i = 0; i < first.size(); ++i) {
          const double difference = first[i] - second[i];
          low = std::min(low, difference);
          high = std::max(high, difference);
        }
        largest = std::max(largest, high - low);
      }
    }
    return largest;
  }

  [[nodiscard]] double given(uint64_t tenant, uint64_t flow) const { return flow_history_.at({tenant, flow}).back(); }
  [[nodiscard]] uint64_t preemptions() const { return scheduler_.preemptions(); }

 private:
  using Key = std::pair<uint64_t, uint64_t>;
  struct Kind {
    uint64_t tenant, flow;
    double weight;
    int32_t prompt, max_new;
  };

  void add(const Kind& kind) {
    auto job = std::make_unique<Job>();
    job->arrival = ++arrivals_;
    job->tenant = kind.tenant;
    job->flow = kind.flow;
    job->weight = kind.weight;
    job->prompt_size = 1 + static_cast<int32_t>(random_() % static_cast<uint32_t>(kind.prompt));
    job->max_new = 1 + static_cast<int32_t>(random_() % static_cast<uint32_t>(kind.max_new));
    job->tokens.assign(static_cast<size_t>(job->prompt_size), 7);
    scheduler_.add(*job);
    ++waiting_[{kind.tenant, kind.flow}];
    jobs_.emplace(job->arrival, std::move(job));
  }

  void advance(const PlannedSlice& slice) {
    auto& job = static_cast<Job&>(*slice.sequence);
    const Key key{job.tenant, job.flow};
    if (job.high_water == 0) {
      --waiting_[key];
      given_[key] += FairQueueing::kPromptCost * job.prompt_size;
      job.high_water = job.prompt_size;
    }
    scheduler_.commit(slice);
    if (job.computed > job.high_water) {
      given_[key] += FairQueueing::kOutputCost * (job.computed - job.high_water);
      job.high_water = job.computed;
    }
    if (job.pending() > 0) return;
    job.tokens.push_back(8);
    if (job.size() < job.prompt_size + job.max_new) return;
    scheduler_.remove(job);
    jobs_.erase(job.arrival);
  }

  void record() {
    std::map<Key, double> tenants;
    for (const Kind& kind : flows_) {
      const double given = given_[{kind.tenant, kind.flow}];
      flow_history_[{kind.tenant, kind.flow}].push_back(given);
      tenants[{kind.tenant, 0}] += given / kind.weight;
    }
    for (const auto& [key, given] : tenants) tenant_history_[key].push_back(given);
  }

  StepLimits limits_;
  std::mt19937 random_;
  FairQueueing policy_;
  runtime::BlockPool pool_;
  Scheduler scheduler_;
  std::vector<Kind> flows_;
  std::map<Key, int> waiting_;
  std::map<Key, double> given_;
  std::map<Key, std::vector<double>> flow_history_, tenant_history_;
  std::map<uint64_t, std::unique_ptr<Job>> jobs_;
  uint64_t arrivals_ = 0;
};

TEST(SchedulerProperties, FlowsThatWaitAreGivenTheSameWithinTheBound) {
  for (uint32_t seed = 0; seed < 10; ++seed) {
    Backlog backlog({6, 64, 8}, 80, seed);
    backlog.keep(0, 1, 1, 40, 30);  // long prompts and outputs
    backlog.keep(0, 2, 1, 5, 3);
    backlog.keep(0, 3, 1, 40, 1);
    backlog.keep(0, 4, 1, 1, 30);
    backlog.run(3000);
    EXPECT_LE(backlog.largest_unfairness(false), 2 * backlog.bound()) << seed;
    EXPECT_GT(backlog.given(0, 2), 20 * backlog.bound()) << seed;  // the bound is small beside what they were given
  }
}

TEST(SchedulerProperties, TenantsThatWaitAreServedByWeightWithinTheBound) {
  uint64_t preemptions = 0;
  for (uint32_t seed = 0; seed < 10; ++seed) {
    Backlog backlog({6, 64, 8}, 40, seed);  // few blocks: it preempts
    for (uint64_t flow = 0; flow < 10; ++flow) backlog.keep(1, flow, 1, 40, 30);
    backlog.keep(2, 0, 1, 20, 20);
    backlog.keep(3, 0, 3, 40, 30);
    backlog.run(3000);
    EXPECT_LE(backlog.largest_unfairness(true), 2 * backlog.bound()) << seed;
    EXPECT_NEAR(backlog.given(3, 0) / backlog.given(2, 0), 3, 0.3) << seed;
    preemptions += backlog.preemptions();
  }
  EXPECT_GT(preemptions, 0U);
}

TEST(SchedulerProperties, AColdAdapterStartsWithinItsBoundHoweverLongTheHotQueue) {
  FairQueueing policy;
  runtime::BlockPool pool(1000, 4, false);
  Scheduler scheduler({4, 64, 8}, policy, pool);
  std::vector<std::unique_ptr<Job>> jobs;
  const auto add = [&](uint64_t flow) -> Job& {
    auto& job = *jobs.emplace_back(std::make_unique<Job>());
    job.arrival = jobs.size();
    job.flow = flow;
    job.prompt_size = 8;
    job.max_new = 16;
    job.tokens.assign(8, 1);
    scheduler.add(job);
    return job;
  };
  for (int i = 0; i < 10'000; ++i) add(0);
  const double bound = 8 + 4 * FairQueueing::kOutputCost * 16;
  double given_to_others = 0;  // since the cold one came
  const Job* cold = nullptr;
  int cold_started = 0;
  for (int step = 0; step < 2000; ++step) {
    if (cold == nullptr && step % 10 == 5) {
      cold = &add(1000 + static_cast<uint64_t>(step));
      given_to_others = 0;
    }
    const auto planned = scheduler.plan();
    const std::vector<PlannedSlice> plan(planned.begin(), planned.end());
    if (cold != nullptr && cold->started) {
      EXPECT_LE(given_to_others, 2 * bound);
      cold = nullptr;
      ++cold_started;
    }
    for (const PlannedSlice& slice : plan) {
      auto& job = static_cast<Job&>(*slice.sequence);
      scheduler.commit(slice);
      given_to_others += slice.count * FairQueueing::kOutputCost;
      if (job.pending() > 0) continue;
      job.tokens.push_back(2);
      if (job.size() == job.prompt_size + job.max_new) scheduler.remove(job);
    }
  }
  EXPECT_GT(cold_started, 100);
}

TEST(SchedulerProperties, PlanningAmongTenThousandIsNoSlowerThanAmongAFew) {
  // Counted, not timed: how often the policy is asked for the next one does not grow with the queue.
  class Counting final : public SchedulingPolicy {
   public:
    void add(Sequence& sequence) override { inner_.add(sequence); }
    bool remove(Sequence& sequence) override { return inner_.remove(sequence); }
    [[nodiscard]] Sequence* next() const override {
      ++calls;
      return inner_.next();
    }
    void start(Sequence& sequence) override { inner_.start(sequence); }
    void serve(const Sequence& sequence, int32_t n) override {
      ++calls;
      inner_.serve(sequence, n);
    }
    void finish(const Sequence& sequence) override { inner_.finish(sequence); }
    std::vector<Sequence*> withdraw(const std::function<bool(const Sequence&)>& condition) override {
      return inner_.withdraw(condition);
    }
    [[nodiscard]] int32_t waiting() const override { return inner_.waiting(); }
    mutable int64_t calls = 0;

   private:
    FairQueueing inner_;
  };
  const auto calls_with = [](int waiting) {
    Counting policy;
    runtime::BlockPool pool(1000, 4, false);
    Scheduler scheduler({4, 64, 8}, policy, pool);
    std::vector<Sequence> sequences(static_cast<size_t>(waiting));
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].arrival = i;
      sequences[i].flow = i % 100;
      sequences[i].prompt_size = 4;
      sequences[i].tokens.assign(4, 1);
      scheduler.add(sequences[i]);
    }
    for (int step = 0; step < 50; ++step) {
      for (const PlannedSlice& slice : scheduler.plan()) {
        scheduler.commit(slice);
        slice.sequence->tokens.push_back(1);
      }
    }
    const int64_t calls = policy.calls;
    for (Sequence& sequence : sequences) scheduler.remove(sequence);
    return calls;
  };
  EXPECT_EQ(calls_with(10'000), calls_with(10));
}

}  // namespace
}  // namespace graft::serving
