#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/ngram_drafter.h"
#include "runtime/sampling.h"

namespace graft::serving {

// A request's side of speculative decoding: what it guesses, and how far it trusts its guesses. A step computes the
// guesses together with the token before them; each row of logits is then sampled as it would have been alone, so the
// output has the same tokens and logprobs as without guesses, sampled ones too (a sampled token is a pure function of
// logits, position and seed). Leviathan et al., 2023, with the draft and the target sharing their random numbers.
class Speculation {
 public:
  explicit Speculation(int32_t max_tokens) : max_tokens_(max_tokens), length_(std::min(max_tokens, kFirstLength)) {}

  std::vector<int32_t> propose(std::span<const int32_t> tokens, int32_t limit) {
    return drafter_.propose(tokens, std::min(limit, length_));
  }
  // `accepted` of `drafted` were right.
  void learn(int32_t drafted, int32_t accepted) {
    length_ = accepted == drafted ? std::min(2 * length_, max_tokens_) : std::max(accepted, 1);
  }

 private:
  static constexpr int32_t kFirstLength = 4;
  runtime::NgramDrafter drafter_;
  int32_t max_tokens_;
  int32_t length_;  // doubled while all are right, cut to what was right otherwise: a wrong guess is paid for
};

// How many of `drafts` the samples confirm, one sample for each draft and one more: samples up to this one count.
int32_t confirmed(std::span<const int32_t> drafts, const std::vector<Result<runtime::SampledToken>>& samples);

}  // namespace graft::serving
