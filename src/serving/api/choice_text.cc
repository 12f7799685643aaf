#include "serving/api/choice_text.h"

#include <iterator>
#include <utility>

#include "serving/api/characters.h"

namespace graft::serving::api {

void ChoicePiece::append(ChoicePiece next) {
  if (tokens.empty()) characters_before = next.characters_before;
  text += next.text;
  std::move(next.tokens.begin(), next.tokens.end(), std::back_inserter(tokens));
}

void ChoiceText::release(ChoicePiece& piece) {
  characters_ += count_characters(waiting_.front().token.text);
  piece.tokens.push_back(std::move(waiting_.front().token));
  waiting_.pop_front();
}

ChoicePiece ChoiceText::push(const GeneratedToken& token) {
  ChoicePiece piece;
  piece.characters_before = characters_;
  if (keep_tokens_ && !stopped()) waiting_.push_back({came_, token});
  came_ += token.text.size();
  piece.text = filter_.push(token.text);
  sent_ += piece.text.size();
  while (!waiting_.empty()) {
    const Waiting& first = waiting_.front();
    const bool may_be_the_end = first.token.special && waiting_.size() == 1;
    if (may_be_the_end || first.begin + first.token.text.size() > sent_) break;
    release(piece);
  }
  return piece;
}

ChoicePiece ChoiceText::finish(const GenerationResult& result) {
  ChoicePiece piece;
  piece.characters_before = characters_;
  piece.text = filter_.finish();
  sent_ += piece.text.size();
  if (result.reason == FinishReason::kEos && !waiting_.empty()) waiting_.pop_back();
  while (!waiting_.empty() && (!stopped() || waiting_.front().begin < sent_)) release(piece);
  return piece;
}

}  // namespace graft::serving::api
