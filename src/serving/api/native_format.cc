#include "serving/api/native_format.h"

#include <algorithm>

#include "serving/api/prompt.h"

namespace graft::serving::api {
namespace {

std::string_view reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return "eos_token";
    case FinishReason::kDeadline:
      return "length";  // the nearest that clients know: the output was cut
    case FinishReason::kStopSequence:
      return "stop_sequence";
    case FinishReason::kLength:
      break;
  }
  return "length";
}

OrderedJson seed_json(std::optional<uint64_t> seed) { return seed ? OrderedJson(*seed) : OrderedJson(nullptr); }

OrderedJson prefill_json(const ApiContext& context, const GenerationResult& result) {
  OrderedJson out = OrderedJson::array();
  for (const auto& token : result.prefill) {
    out.push_back({{"id", token.id}, {"text", token_text(context, token.id)}, {"logprob", token.logprob}});
  }
  return out;
}

OrderedJson tokens_json(const ApiContext& context, const GenerationResult& result, bool with_alternatives) {
  OrderedJson out = OrderedJson::array();
  for (const auto& token : result.tokens) out.push_back(native_token(context, token, with_alternatives));
  return out;
}

}  // namespace

OrderedJson native_token(const ApiContext& context, const GeneratedToken& token, bool with_alternatives) {
  OrderedJson out{{"id", token.id},
                  {"text", token.special ? token_text(context, token.id) : token.text},
                  {"logprob", token.logprob},
                  {"special", token.special}};
  if (with_alternatives) {
    OrderedJson alternatives = OrderedJson::array();
    for (const auto& other : token.alternatives) {
      alternatives.push_back({{"id", other.id}, {"text", token_text(context, other.id)}, {"logprob", other.logprob}});
    }
    out["alternative_tokens"] = std::move(alternatives);
  }
  out["skipped"] = false;
  return out;
}

OrderedJson native_details(const ApiContext& context, const NativeSequence& chosen,
                           const std::vector<NativeSequence>& others, const std::string& text_prefix,
                           bool with_alternatives) {
  OrderedJson out{{"finish_reason", reason_name(chosen.result->reason)},
                  {"prompt_tokens", chosen.result->prompt_tokens},
                  {"generated_tokens", chosen.result->tokens.size()},
                  {"skipped_tokens", 0},
                  {"seed", seed_json(chosen.seed)},
                  {"prefill", prefill_json(context, *chosen.result)},
                  {"tokens", tokens_json(context, *chosen.result, with_alternatives)}};
  if (others.empty()) return out;
  OrderedJson sequences = OrderedJson::array();
  for (const NativeSequence& other : others) {
    sequences.push_back({{"generated_text", text_prefix + other.result->text},
                         {"finish_reason", reason_name(other.result->reason)},
                         {"generated_tokens", other.result->tokens.size()},
                         {"seed", seed_json(other.seed)},
                         {"prefill", prefill_json(context, *other.result)},
                         {"tokens", tokens_json(context, *other.result, with_alternatives)}});
  }
  out["best_of_sequences"] = std::move(sequences);
  return out;
}

OrderedJson native_stream_details(const GenerationResult& result, std::optional<uint64_t> seed) {
  return {{"finish_reason", reason_name(result.reason)},
          {"prompt_tokens", result.prompt_tokens},
          {"generated_tokens", result.tokens.size()},
          {"seed", seed_json(seed)}};
}

double mean_logprob(const GenerationResult& result) {
  double sum = 0;
  for (const auto& token : result.tokens) sum += token.logprob;
  return sum / static_cast<double>(std::max<size_t>(1, result.tokens.size()));
}

}  // namespace graft::serving::api
