#include "serving/output.h"

#include <algorithm>
#include <utility>

namespace graft::serving {

Output::Output(const text::Tokenizer& tokenizer, const std::vector<int32_t>& eos_token_ids,
               const GenerationRequest& request)
    : tokenizer_(tokenizer),
      eos_token_ids_(eos_token_ids),
      detokenizer_(tokenizer, true),
      stops_(request.stop),
      ignore_eos_(request.ignore_eos && request.grammar == nullptr),
      max_new_tokens_(static_cast<size_t>(request.max_new_tokens)) {}

std::optional<FinishReason> Output::push(runtime::SampledToken sampled) {
  GeneratedToken token;
  token.id = sampled.id;
  token.logprob = sampled.logprob;
  token.special = tokenizer_.is_special(sampled.id);
  token.alternatives = std::move(sampled.alternatives);

  std::optional<FinishReason> reason;
  token.text = detokenizer_.push(sampled.id);
  StopMatcher::Match match = stops_.push(token.text);
  token.text.resize(match.size);
  if (match.stopped) {
    reason = FinishReason::kStopSequence;
  } else if (!ignore_eos_ && std::ranges::find(eos_token_ids_, sampled.id) != eos_token_ids_.end()) {
    reason = FinishReason::kEos;
  } else if (tokens_.size() + 1 >= max_new_tokens_) {
    reason = FinishReason::kLength;
  }
  if (reason && !match.stopped) {
    // What was held back comes out with the last token, and may complete a stop sequence.
    const std::string rest = detokenizer_.finish();
    match = stops_.push(rest);
    token.text += rest.substr(0, match.size);
    if (match.stopped && reason == FinishReason::kLength) reason = FinishReason::kStopSequence;
  }
  text_ += token.text;
  tokens_.push_back(std::move(token));
  return reason;
}

}  // namespace graft::serving
