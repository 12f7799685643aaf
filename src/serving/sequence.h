#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/kv_blocks.h"
#include "runtime/step_model.h"

namespace graft::serving {

struct AdapterEntry;

// What is being generated for one request, as the scheduler sees it. Whether it is in prefill or in decode follows from
// the counts. Belongs to the model thread.
struct Sequence {
  uint64_t arrival = 0;         // unique, ascending in the order of arrival
  uint64_t tenant = 0;          // who asks, and
  uint64_t flow = 0;            // which of a tenant's adapters: what the scheduling policy is fair between
  double weight = 1;            // of the tenant: its share beside the others'
  std::vector<int32_t> tokens;  // prompt, then output
  int32_t prompt_size = 0;
  int32_t drafted = 0;  // the last ones of `tokens` that are guesses, to be checked by the next step

  int32_t computed = 0;  // the first ones, whose keys and values are in `blocks`
  runtime::BlockTable blocks;
  runtime::PrefixScope scope;
  runtime::PrefixEntry prefix;  // what the full ones among the computed blocks hold
  bool started = false;         // was in a step, even if it was preempted since
  int32_t served = 0;           // output tokens that the policy has been told of
  int32_t cached_tokens = 0;    // of the prompt, found in the prefix cache when it started

  bool wants_prompt_logprobs = false;
  int32_t prompt_logprobs = 1;  // prompt tokens whose logprob is known; nothing predicts the first one

  bool pooled = false;           // its hidden states are asked for, nothing is generated
  bool pools_every_row = false;  // of all its tokens, not just the last one

  std::shared_ptr<const runtime::AdapterWeights> weights;  // null: the base model
  AdapterEntry* adapter = nullptr;                         // where the weights came from, if from the adapter pool

  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(tokens.size()); }
  [[nodiscard]] int32_t pending() const { return size() - computed; }
  [[nodiscard]] bool decoding() const { return pending() - drafted == 1 && computed > 0; }
  // Forgets all guesses but the first `keep`.
  void drop_drafts(int32_t keep = 0) {
    tokens.resize(tokens.size() - static_cast<size_t>(drafted - keep));
    drafted = keep;
  }
  // Whether the logits of the next `count` tokens tell a prompt logprob that is still unknown.
  [[nodiscard]] bool reveals_prompt_logprobs(int32_t count) const {
    return wants_prompt_logprobs && prompt_logprobs < prompt_size && computed + count >= prompt_logprobs;
  }
  // Whether what the prefix cache holds would leave out rows that somebody wants to see.
  [[nodiscard]] bool needs_whole_prompt() const {
    return pools_every_row || (wants_prompt_logprobs && prompt_logprobs < prompt_size);
  }
};

}  // namespace graft::serving
