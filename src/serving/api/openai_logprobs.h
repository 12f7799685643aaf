#pragma once

#include <vector>

#include "serving/api/api_context.h"
#include "serving/api/choice_text.h"
#include "serving/api/json_text.h"

namespace graft::serving::api {

// The logprobs object of /v1/completions: parallel arrays.
class CompletionLogprobs {
 public:
  // `top`: how many alternatives beside each token; 0: top_logprobs is null.
  CompletionLogprobs(const ApiContext& context, int32_t top, size_t first_offset);
  // The prompt's tokens. The engine knows no alternatives for them: top_logprobs holds the token itself.
  void add_prompt(const std::vector<runtime::TokenLogprob>& prefill);
  void add(const std::vector<GeneratedToken>& tokens);
  [[nodiscard]] OrderedJson json() &&;

 private:
  void add_one(const std::string& text, float logprob, OrderedJson top);

  const ApiContext* context_;
  int32_t top_;
  size_t offset_;  // characters
  OrderedJson tokens_ = OrderedJson::array();
  OrderedJson logprobs_ = OrderedJson::array();
  OrderedJson tops_ = OrderedJson::array();
  OrderedJson offsets_ = OrderedJson::array();
};

// The logprobs object of /v1/chat/completions: an array of tokens.
OrderedJson chat_logprobs(const ApiContext& context, const std::vector<GeneratedToken>& tokens, int32_t top);

}  // namespace graft::serving::api
