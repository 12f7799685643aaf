#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace graft::runtime {

struct SamplingParams {
  bool greedy = true;        // argmax of the penalised logits; ties go to the lowest id
  double temperature = 1.0;  // > 0
  int32_t top_k = 0;         // 0: off
  double top_p = 1.0;
  double typical_p = 1.0;
  double repetition_penalty = 1.0;  // over prompt and output, as transformers does
  double frequency_penalty = 0.0;   // over output only, as OpenAI does
  double presence_penalty = 0.0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;  // with the position of the token, the whole state of the random numbers
};

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;  // natural log, of the model's distribution before temperature and filters
};

struct SampledToken {
  int32_t id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> alternatives;  // the most likely ones, best first
};

// Picks the next token. Deterministic in its arguments. `position` is the index of the new token in the sequence.
SampledToken sample(std::span<const float> logits,  // [vocab]
                    const SamplingParams& params, std::span<const int32_t> prompt, std::span<const int32_t> output,
                    int64_t position, int32_t num_alternatives);

// log softmax of the logits at `id`, accumulated in double.
float logprob_of(std::span<const float> logits, int32_t id);

}  // namespace graft::runtime
