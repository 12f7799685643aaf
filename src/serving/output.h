#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serving/engine.h"
#include "serving/stop_matcher.h"
#include "text/tokenizer.h"

namespace graft::serving {

// Turns one request's sampled tokens into text, and says when the output ends.
class Output {
 public:
  Output(const text::Tokenizer& tokenizer, const std::vector<int32_t>& eos_token_ids, const GenerationRequest& request);

  // The token becomes the last one of tokens().
  std::optional<FinishReason> push(runtime::SampledToken sampled);
  [[nodiscard]] const std::vector<GeneratedToken>& tokens() const { return tokens_; }
  std::vector<GeneratedToken> take_tokens() { return std::move(tokens_); }
  std::string take_text() { return std::move(text_); }

 private:
  const text::Tokenizer& tokenizer_;
  const std::vector<int32_t>& eos_token_ids_;
  text::IncrementalDetokenizer detokenizer_;
  StopMatcher stops_;
  bool ignore_eos_;
  size_t max_new_tokens_;
  std::vector<GeneratedToken> tokens_;
  std::string text_;
};

}  // namespace graft::serving
