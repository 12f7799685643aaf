#include "serving/api/openai_logprobs.h"

#include <cmath>
#include <utility>

#include "serving/api/characters.h"
#include "serving/api/prompt.h"

namespace graft::serving::api {
namespace {

// What the token added to the output, or itself where it completed no character.
std::string shown_text(const ApiContext& context, const GeneratedToken& token) {
  return token.text.empty() ? token_text(context, token.id) : token.text;
}

struct Alternative {
  std::string text;
  float logprob = 0;
};

// The most likely tokens, best first. The chosen one is shown with the same text as in its own place.
std::vector<Alternative> best(const ApiContext& context, const GeneratedToken& token, int32_t top) {
  std::vector<Alternative> out;
  for (const auto& other : token.alternatives) {
    if (out.size() == static_cast<size_t>(top)) break;
    out.push_back({other.id == token.id ? shown_text(context, token) : token_text(context, other.id), other.logprob});
  }
  return out;
}

// The bytes of a token, where its text is all of them: half a character has none that could be shown.
OrderedJson bytes_of(const std::string& text) {
  if (text.find("\xEF\xBF\xBD") != std::string::npos) return nullptr;
  OrderedJson out = OrderedJson::array();
  for (const char c : text) out.push_back(static_cast<unsigned char>(c));
  return out;
}

OrderedJson chat_token(const std::string& text, float logprob) {
  return {{"token", text}, {"logprob", logprob}, {"bytes", bytes_of(text)}};
}

}  // namespace

CompletionLogprobs::CompletionLogprobs(const ApiContext& context, int32_t top, size_t first_offset)
    : context_(&context), top_(top), offset_(first_offset) {}

void CompletionLogprobs::add_one(const std::string& text, float logprob, OrderedJson top) {
  tokens_.push_back(text);
  logprobs_.push_back(logprob);
  tops_.push_back(std::move(top));
  offsets_.push_back(offset_);
}

void CompletionLogprobs::add_prompt(const std::vector<runtime::TokenLogprob>& prefill) {
  for (const auto& token : prefill) {
    const std::string text = token_text(*context_, token.id);
    const bool known = std::isfinite(token.logprob);
    add_one(text, token.logprob, known ? OrderedJson{{text, token.logprob}} : OrderedJson(nullptr));
    offset_ += count_characters(text);
  }
}

void CompletionLogprobs::add(const std::vector<GeneratedToken>& tokens) {
  for (const auto& token : tokens) {
    OrderedJson top = OrderedJson::object();
    for (const auto& [text, logprob] : best(*context_, token, top_)) {
      if (!top.contains(text)) top[text] = logprob;
    }
    const std::string shown = shown_text(*context_, token);
    if (!top.contains(shown)) top[shown] = token.logprob;  // the chosen one is always among them
    add_one(shown, token.logprob, std::move(top));
    offset_ += count_characters(token.text);
  }
}

OrderedJson CompletionLogprobs::json() && {
  OrderedJson out{{"tokens", std::move(tokens_)}, {"token_logprobs", std::move(logprobs_)}};
  out["top_logprobs"] = top_ > 0 ? std::move(tops_) : OrderedJson(nullptr);
  out["text_offset"] = std::move(offsets_);
  return out;
}

OrderedJson chat_logprobs(const ApiContext& context, const std::vector<GeneratedToken>& tokens, int32_t top) {
  OrderedJson content = OrderedJson::array();
  for (const auto& token : tokens) {
    OrderedJson item = chat_token(shown_text(context, token), token.logprob);
    item["top_logprobs"] = OrderedJson::array();
    for (const auto& [text, logprob] : best(context, token, top)) {
      item["top_logprobs"].push_back(chat_token(text, logprob));
    }
    content.push_back(std::move(item));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

}  // namespace graft::serving::api
