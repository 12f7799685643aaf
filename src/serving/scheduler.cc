#include "serving/scheduler.h"

#include <algorithm>
#include <utility>

namespace graft::serving {

Scheduler::Scheduler(StepLimits limits, SchedulingPolicy& policy, runtime::BlockPool& blocks)
    : limits_(limits), policy_(policy), blocks_(blocks) {
  limits_.max_step_tokens = std::max(limits_.max_step_tokens, 1);
  // Every running sequence must find a place for its decode.
  limits_.max_running = std::clamp(limits_.max_running, 1, limits_.max_step_tokens);
  limits_.max_logit_rows = std::max(limits_.max_logit_rows, 1);
}

void Scheduler::add(Sequence& sequence) { policy_.add(sequence); }

void Scheduler::remove(Sequence& sequence) {
  if (std::erase(running_, &sequence) + std::erase(preempted_, &sequence) > 0) {
    policy_.finish(sequence);
  } else {
    policy_.remove(sequence);
  }
  sequence.blocks.clear();
}

std::vector<Sequence*> Scheduler::withdraw(const std::function<bool(const Sequence&)>& condition) {
  return policy_.withdraw(condition);
}

std::span<const PlannedSlice> Scheduler::plan() {
  plan_.clear();
  tokens_left_ = limits_.max_step_tokens;
  rows_left_ = limits_.max_logit_rows;
  plan_decodes();
  plan_prefills();
  admit();
  return plan_;
}

void Scheduler::plan_decodes() {
  auto left =
      static_cast<int32_t>(std::count_if(running_.begin(), running_.end(), [](auto* s) { return s->decoding(); }));
  // grow() may take sequences off the end of the list, this one included.
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (!sequence.decoding()) continue;
    fit_drafts(sequence, tokens_left_ - left--);
    if (grow(sequence)) take(sequence, sequence.pending());
  }
}

// Drafts take what nobody needs: `tokens` of the step, and blocks that are free without preempting anybody.
void Scheduler::fit_drafts(Sequence& sequence, int32_t tokens) {
  if (sequence.drafted == 0) return;
  const int32_t blocks = sequence.blocks.size() + std::max(blocks_.available() - running(), 0);
  const int32_t positions = blocks * blocks_.block_size() - (sequence.size() - sequence.drafted);
  sequence.drop_drafts(std::clamp(std::min({tokens, rows_left_ - 1, positions}), 0, sequence.drafted));
}

void Scheduler::plan_prefills() {
  for (size_t i = 0; i < running_.size() && tokens_left_ > 0; ++i) {
    if (!running_[i]->decoding()) take_chunk(*running_[i]);
  }
}

void Scheduler::admit() {
  // Strictly in order: who does not fit holds up everybody behind, so that nobody starves.
  while (tokens_left_ > 0 && running() < limits_.max_running) {
    const bool resumes = !preempted_.empty();
    Sequence* sequence = resumes ? preempted_.front() : policy_.next();
    if (sequence == nullptr || !start(*sequence)) return;
    if (resumes) {
      preempted_.pop_front();
    } else {
      policy_.start(*sequence);
    }
    running_.push_back(sequence);
    take_chunk(*sequence);
  }
}

bool Scheduler::start(Sequence& sequence) {
  std::vector<runtime::BlockHandle> found;
  runtime::PrefixEntry prefix;
  if (!sequence.needs_whole_prompt()) {
    // The last token is always computed: its logits are what the step is for.
    found = blocks_.find_prefix(sequence.scope, std::span(sequence.tokens).first(sequence.tokens.size() - 1), prefix);
  }
  // One spare block for each running sequence, so that a newcomer is not preempted at once.
  const int32_t needed = blocks_.blocks_for(sequence.size()) - static_cast<int32_t>(found.size());
  if (needed + running() > blocks_.available()) {
    while (!found.empty()) found.pop_back();  // tails first
    return false;
  }
  sequence.computed = static_cast<int32_t>(found.size()) * blocks_.block_size();
  sequence.prefix = prefix;
  if (!std::exchange(sequence.started, true)) sequence.cached_tokens = sequence.computed;
  for (runtime::BlockHandle& block : found) sequence.blocks.append(std::move(block));
  while (sequence.blocks.size() < blocks_.blocks_for(sequence.size())) sequence.blocks.append(*blocks_.allocate());
  return true;
}

// Makes room for the pending tokens, if need be by preempting others that come later; false: it was preempted itself.
bool Scheduler::grow(Sequence& sequence) {
  while (sequence.blocks.size() < blocks_.blocks_for(sequence.size())) {
    if (auto block = blocks_.allocate()) {
      sequence.blocks.append(std::move(*block));
      continue;
    }
    const bool last = running_.back() == &sequence;
    preempt_last();
    if (last) return false;
  }
  return true;
}

void Scheduler::preempt_last() {
  Sequence& victim = *running_.back();
  running_.pop_back();
  victim.drop_drafts();
  victim.blocks.clear();
  victim.computed = 0;
  victim.prefix = {};
  preempted_.push_front(&victim);
  ++preemptions_;
}

void Scheduler::take_chunk(Sequence& sequence) {
  int32_t count = std::min(sequence.pending(), tokens_left_);
  if (sequence.reveals_prompt_logprobs(count)) count = std::min(count, rows_left_);
  if (count > 0) take(sequence, count);
}

void Scheduler::take(Sequence& sequence, int32_t count) {
  PlannedSlice slice{&sequence, count, runtime::LogitRows::kNone};
  if (sequence.pools_every_row) {
    slice.logits = runtime::LogitRows::kAll;  // hidden states: they are small
  } else if (sequence.reveals_prompt_logprobs(count) || sequence.drafted > 0) {
    slice.logits = runtime::LogitRows::kAll;
    rows_left_ -= count;
  } else if (count == sequence.pending()) {
    slice.logits = runtime::LogitRows::kLast;
  }
  tokens_left_ -= count;
  plan_.push_back(slice);
}

void Scheduler::commit(const PlannedSlice& slice) {
  Sequence& sequence = *slice.sequence;
  const int32_t size = blocks_.block_size();
  const int32_t full_before = sequence.computed / size;
  sequence.computed += slice.count;
  for (int32_t i = full_before; i < sequence.computed / size; ++i) {
    const auto tokens = std::span(sequence.tokens).subspan(static_cast<size_t>(i * size), static_cast<size_t>(size));
    sequence.prefix = blocks_.remember(sequence.scope, sequence.prefix, tokens, sequence.blocks[i]);
  }
  const int32_t outputs = sequence.computed - sequence.prompt_size;
  if (outputs > sequence.served) policy_.serve(sequence, outputs - std::exchange(sequence.served, outputs));
}

}  // namespace graft::serving
