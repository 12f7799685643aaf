#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "runtime/vocab_kernels.h"

namespace graft::runtime {

struct SamplingParams {
  bool greedy = true;               // argmax of the penalised logits; ties go to the lowest id
  double temperature = 1.0;         // > 0
  int32_t top_k = 0;                // 0: off
  double top_p = 1.0;               // (0, 1]; 1: off
  double typical_p = 1.0;           // (0, 1]; 1: off
  double repetition_penalty = 1.0;  // over prompt and output, as transformers does
  double frequency_penalty = 0.0;   // over output only, as OpenAI does
  double presence_penalty = 0.0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;  // with the position of the token, the whole state of the random numbers
};

// The first value that is out of its range, or out of the vocabulary, as an error.
Status validate(const SamplingParams& params, int64_t vocab_size);

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;  // natural log, of the model's distribution before the mask, penalties, temperature and filters
};

struct SampledToken {
  int32_t id = 0;
  float logprob = 0;                       // NaN where it was not asked for
  std::vector<TokenLogprob> alternatives;  // the most likely ones of the model's distribution, best first
};

// Picks the next token. Deterministic in its arguments, on every instruction set. `position` is the index of the new
// token in the sequence. Applies, in this order: repetition penalty, frequency and presence penalty, logit bias,
// the mask, temperature, top-k, top-p, typical-p. Logits may be -inf (masked); NaN, +inf or nothing but -inf is
// kInternal. An empty mask allows every token; one that leaves nothing to choose from is kInternal too.
Result<SampledToken> sample(std::span<const float> logits,  // [vocab]
                            const SamplingParams& params, std::span<const int32_t> prompt,
                            std::span<const int32_t> output, int64_t position, int32_t num_alternatives,
                            bool with_logprob = true,  // alternatives come with it
                            TokenMask mask = {});

struct TokenProbability {
  int32_t id = 0;
  double probability = 0;
};

// The distribution that `sample` draws from when params.greedy is false: what survives the filters, by ascending id.
Result<std::vector<TokenProbability>> sampling_distribution(std::span<const float> logits, const SamplingParams& params,
                                                            std::span<const int32_t> prompt,
                                                            std::span<const int32_t> output);

// log softmax of the logits at `id`, accumulated in double. NaN where sample() would be an error.
float logprob_of(std::span<const float> logits, int32_t id);

}  // namespace graft::runtime
