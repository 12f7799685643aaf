#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "runtime/kv_blocks.h"
#include "runtime/step_model.h"
#include "serving/scheduling_policy.h"
#include "serving/sequence.h"

namespace graft::serving {

struct StepLimits {
  int32_t max_running = 1;      // sequences that hold blocks; at most max_step_tokens
  int32_t max_step_tokens = 1;  // decodes first, the rest goes to prefill chunks
  int32_t max_logit_rows = 1;   // rows of a step for prompt logprobs and drafts; they are vocab_size floats each
};

// The next `count` tokens of a sequence, from `computed` on.
struct PlannedSlice {
  Sequence* sequence = nullptr;
  int32_t count = 0;
  runtime::LogitRows logits = runtime::LogitRows::kLast;
};

// Decides what the next step computes, and gives sequences their KV blocks. A sequence gets the blocks of all tokens it
// has when it starts, and one more whenever it grows into it. When none is left the prefix cache gives way first, then
// the sequence that started last is preempted: it loses its blocks, keeps its tokens and computes them again, before
// any other starts. The one that started first can always go on, provided that every sequence alone fits into the pool;
// so all end. A step costs time in the sequences that run and in the logarithm of those that wait. Belongs to one
// thread.
class Scheduler {
 public:
  Scheduler(StepLimits limits, SchedulingPolicy& policy, runtime::BlockPool& blocks);

  void add(Sequence& sequence);     // it waits now; it must outlive its stay here
  void remove(Sequence& sequence);  // gives its blocks back; nothing happens where it is not here
  // Takes out those that wait, have never started and satisfy the condition.
  std::vector<Sequence*> withdraw(const std::function<bool(const Sequence&)>& condition);

  // Empty only when there is nothing to do. Valid until the next call of a member.
  std::span<const PlannedSlice> plan();
  // The slice was computed: call it for each one before the next plan, except where the step failed. Of a slice with
  // drafts, `count` is what has proved right, and the sequence keeps no other draft.
  void commit(const PlannedSlice& slice);

  [[nodiscard]] bool idle() const { return running_.empty() && waiting() == 0; }
  [[nodiscard]] int32_t waiting() const { return policy_.waiting() + static_cast<int32_t>(preempted_.size()); }
  [[nodiscard]] int32_t running() const { return static_cast<int32_t>(running_.size()); }
  [[nodiscard]] uint64_t preemptions() const { return preemptions_; }

 private:
  void plan_decodes();
  void fit_drafts(Sequence& sequence, int32_t tokens);
  void plan_prefills();
  void admit();
  bool start(Sequence& sequence);
  bool grow(Sequence& sequence);
  void preempt_last();
  void take_chunk(Sequence& sequence);
  void take(Sequence& sequence, int32_t count);

  StepLimits limits_;
  SchedulingPolicy& policy_;  // holds those that have never started
  runtime::BlockPool& blocks_;
  std::vector<Sequence*> running_;   // in the order in which they started; those of
  std::deque<Sequence*> preempted_;  // come after them
  std::vector<PlannedSlice> plan_;
  int32_t tokens_left_ = 0;  // of the step being planned
  int32_t rows_left_ = 0;
  uint64_t preemptions_ = 0;
};

}  // namespace graft::serving
