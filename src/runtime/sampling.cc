#include "runtime/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <unordered_map>

#include "base/philox.h"
#include "runtime/logit_filters.h"
#include "runtime/vocab_kernels.h"

namespace graft::runtime {
namespace {

constexpr uint64_t kSamplingStream = 0x73616d706c65;  // of the seed's Philox streams; the index is the position

bool changes_logits(const SamplingParams& params) {
  return params.repetition_penalty != 1.0 || params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 ||
         !params.logit_bias.empty();
}

bool in_vocabulary(int32_t id, std::span<const float> logits) {
  return id >= 0 && static_cast<size_t>(id) < logits.size();
}

// Once for every token that occurs, however often: divides positive logits and multiplies negative ones.
void apply_repetition_penalty(std::span<float> logits, double penalty, std::span<const int32_t> prompt,
                              std::span<const int32_t> output) {
  std::vector<bool> done(logits.size());
  for (const std::span<const int32_t> tokens : {prompt, output}) {
    for (const int32_t id : tokens) {
      if (!in_vocabulary(id, logits) || done[static_cast<size_t>(id)]) continue;
      done[static_cast<size_t>(id)] = true;
      float& logit = logits[static_cast<size_t>(id)];
      logit = logit < 0 ? logit * static_cast<float>(penalty) : logit / static_cast<float>(penalty);
    }
  }
}

void apply_count_penalties(std::span<float> logits, const SamplingParams& params, std::span<const int32_t> output) {
  std::unordered_map<int32_t, int64_t> counts;
  for (const int32_t id : output) ++counts[id];
  for (const auto& [id, count] : counts) {
    if (!in_vocabulary(id, logits)) continue;
    logits[static_cast<size_t>(id)] -=
        static_cast<float>(static_cast<double>(count) * params.frequency_penalty + params.presence_penalty);
  }
}

std::vector<float> adjusted(std::span<const float> logits, const SamplingParams& params,
                            std::span<const int32_t> prompt, std::span<const int32_t> output) {
  std::vector<float> result(logits.begin(), logits.end());
  if (params.repetition_penalty != 1.0) apply_repetition_penalty(result, params.repetition_penalty, prompt, output);
  if (params.frequency_penalty != 0.0 || params.presence_penalty != 0.0) apply_count_penalties(result, params, output);
  for (const auto& [id, bias] : params.logit_bias) {
    if (in_vocabulary(id, result)) result[static_cast<size_t>(id)] += bias;
  }
  return result;
}

Error not_finite() {
  return internal_error(
      "the model's logits are not finite (NaN or infinity); check the weights of the model and the adapter");
}

Candidates filter(std::span<const float> logits, const Peak& peak, const SamplingParams& params) {
  Candidates candidates;
  candidates.ids.resize(logits.size());
  candidates.distances.resize(logits.size());
  candidates.weights.resize(logits.size());
  std::iota(candidates.ids.begin(), candidates.ids.end(), 0);
  // A temperature that underflows is as good as greedy; zero would divide zero by zero.
  const float temperature = std::max(static_cast<float>(params.temperature), std::numeric_limits<float>::min());
  scale_distances(logits, peak.value, temperature, candidates.distances);
  exp_weights(candidates.distances, candidates.weights);
  if (params.top_k > 0) keep_top_k(candidates, params.top_k);
  if (params.top_p < 1.0) keep_top_p(candidates, params.top_p);
  if (params.typical_p < 1.0) keep_typical_p(candidates, params.typical_p);
  return candidates;
}

// Inverse of the cumulative distribution over ascending ids, by blocks and then within one.
int32_t draw(const Candidates& candidates, uint64_t seed, int64_t position) {
  constexpr size_t kBlock = 256;
  const std::span<const float> weights = candidates.weights;
  std::vector<double> sums;
  double total = 0;
  for (size_t begin = 0; begin < weights.size(); begin += kBlock) {
    sums.push_back(sum_double(weights.subspan(begin, std::min(kBlock, weights.size() - begin))));
    total += sums.back();
  }
  PhiloxStream random(seed, kSamplingStream, static_cast<uint64_t>(position));
  const double target = random.next_double() * total;
  double cumulative = 0;
  size_t block = 0;
  while (block + 1 < sums.size() && cumulative + sums[block] <= target) cumulative += sums[block++];
  // target < total, so the block found has weight. Rounding can leave its sum under the target: then its last token
  // that has any weight is taken.
  size_t last = block * kBlock;
  for (size_t i = block * kBlock; i < std::min((block + 1) * kBlock, weights.size()); ++i) {
    if (weights[i] <= 0) continue;
    last = i;
    cumulative += static_cast<double>(weights[i]);
    if (cumulative > target) break;
  }
  return candidates.ids[last];
}

// Natural log of the softmax's denominator, given the largest logit.
double log_total(std::span<const float> logits, const Peak& peak) {
  return static_cast<double>(peak.value) + std::log(sum_exp(logits, peak.value));
}

std::vector<TokenLogprob> best_alternatives(std::span<const float> logits, double log_sum, int32_t count) {
  std::vector<TokenLogprob> result;
  if (count <= 0) return result;
  std::vector<float> keys(logits.size());
  std::transform(logits.begin(), logits.end(), keys.begin(), [](float logit) { return -logit; });
  for (const int32_t id : smallest(keys, static_cast<size_t>(count))) {
    result.push_back({id, static_cast<float>(static_cast<double>(logits[static_cast<size_t>(id)]) - log_sum)});
  }
  return result;
}

// What the token is chosen from: the logits with penalties and mask applied, in `copy` where they are not as they came.
struct Choice {
  std::span<const float> logits;
  Peak peak;
};

Choice choose_from(std::span<const float> logits, const SamplingParams& params, std::span<const int32_t> prompt,
                   std::span<const int32_t> output, TokenMask mask, std::vector<float>& copy) {
  if (changes_logits(params)) {
    copy = adjusted(logits, params, prompt, output);
    if (!mask.empty()) apply_mask(copy, mask, copy);
    return {copy, find_peak(copy)};
  }
  if (mask.empty()) return {logits, find_peak(logits)};
  if (params.greedy) return {logits, find_peak(logits, mask)};  // the peak is all that is asked for
  copy.resize(logits.size());
  apply_mask(logits, mask, copy);
  return {copy, find_peak(copy)};
}

Status out_of_range(const char* name, const char* rule) {
  return invalid(std::string("`") + name + "` must be " + rule);
}

}  // namespace

Status validate(const SamplingParams& params, int64_t vocab_size) {
  // Comparisons are written so that NaN fails them.
  constexpr double kMax = std::numeric_limits<float>::max();
  const auto within = [](double value, double low, double high) { return value >= low && value <= high; };
  if (!params.greedy && !(params.temperature > 0 && params.temperature <= kMax)) {
    return out_of_range("temperature", "strictly positive and finite when sampling");
  }
  if (params.top_k < 0) return out_of_range("top_k", ">= 0 (0 turns it off)");
  if (!(params.top_p > 0 && params.top_p <= 1)) return out_of_range("top_p", "> 0.0 and <= 1.0");
  if (!(params.typical_p > 0 && params.typical_p <= 1)) return out_of_range("typical_p", "> 0.0 and <= 1.0");
  if (!(params.repetition_penalty > 0 && params.repetition_penalty <= kMax)) {
    return out_of_range("repetition_penalty", "strictly positive and finite");
  }
  if (!within(params.frequency_penalty, -kMax, kMax)) return out_of_range("frequency_penalty", "finite");
  if (!within(params.presence_penalty, -kMax, kMax)) return out_of_range("presence_penalty", "finite");
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocab_size) {
      return invalid("`logit_bias` names token " + std::to_string(id) + ", the vocabulary has ids 0 to " +
                     std::to_string(vocab_size - 1));
    }
    if (!std::isfinite(bias)) return out_of_range("logit_bias", "finite");
  }
  return {};
}

Result<SampledToken> sample(std::span<const float> logits, const SamplingParams& params,
                            std::span<const int32_t> prompt, std::span<const int32_t> output, int64_t position,
                            int32_t num_alternatives, bool with_logprob, TokenMask mask) {
  if (logits.empty()) return internal_error("no logits to sample from");
  if (!mask.empty() && mask.size() * 32 < logits.size()) return internal_error("the mask is shorter than the logits");
  const bool as_they_came = mask.empty() && !changes_logits(params);
  std::vector<float> copy;
  const Choice choice = choose_from(logits, params, prompt, output, mask, copy);
  const Peak peak = as_they_came ? choice.peak : with_logprob || !choice.peak.finite ? find_peak(logits) : Peak();
  if ((as_they_came || with_logprob || !choice.peak.finite) && !peak.finite) return not_finite();
  if (!choice.peak.finite) {
    if (changes_logits(params)) return invalid("penalties and `logit_bias` leave no finite logit to choose from");
    return internal_error("the grammar leaves no token to choose from");
  }

  SampledToken token;
  token.id = params.greedy ? static_cast<int32_t>(choice.peak.index)
                           : draw(filter(choice.logits, choice.peak, params), params.seed, position);
  if (!with_logprob) {
    token.logprob = std::numeric_limits<float>::quiet_NaN();
    return token;
  }
  const double log_sum = log_total(logits, peak);
  token.logprob = static_cast<float>(static_cast<double>(logits[static_cast<size_t>(token.id)]) - log_sum);
  token.alternatives = best_alternatives(logits, log_sum, num_alternatives);
  return token;
}

Result<std::vector<TokenProbability>> sampling_distribution(std::span<const float> logits, const SamplingParams& params,
                                                            std::span<const int32_t> prompt,
                                                            std::span<const int32_t> output) {
  if (logits.empty()) return internal_error("no logits to sample from");
  const std::vector<float> changed = adjusted(logits, params, prompt, output);
  const Peak peak = find_peak(changed);
  if (!peak.finite) return not_finite();
  const Candidates candidates = filter(changed, peak, params);
  const double total = sum_double(candidates.weights);
  std::vector<TokenProbability> result;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates.weights[i] <= 0) continue;
    result.push_back({candidates.ids[i], static_cast<double>(candidates.weights[i]) / total});
  }
  return result;
}

float logprob_of(std::span<const float> logits, int32_t id) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  if (!in_vocabulary(id, logits)) return kNaN;
  const Peak peak = find_peak(logits);
  if (!peak.finite) return kNaN;
  return static_cast<float>(static_cast<double>(logits[static_cast<size_t>(id)]) - log_total(logits, peak));
}

}  // namespace graft::runtime
