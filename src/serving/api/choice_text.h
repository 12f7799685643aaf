#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "serving/api/stop_filter.h"
#include "serving/engine.h"

namespace graft::serving::api {

// A piece of one choice of an OpenAI answer: its text, and the tokens that have become part of it.
struct ChoicePiece {
  std::string text;
  std::vector<GeneratedToken> tokens;
  size_t characters_before = 0;  // of the tokens that came before these

  void append(ChoicePiece next);
};

// Turns a sequence's tokens into pieces as they come: OpenAI's output ends before the stop sequence and has no
// end-of-sequence token. Whole answers go through here as well, so that a stream's pieces add up to the whole answer.
class ChoiceText {
 public:
  ChoiceText(std::vector<std::string> stops, bool keep_tokens) : filter_(std::move(stops)), keep_tokens_(keep_tokens) {}

  ChoicePiece push(const GeneratedToken& token);
  ChoicePiece finish(const GenerationResult& result);  // what was held back
  [[nodiscard]] bool stopped() const { return filter_.stopped(); }

 private:
  struct Waiting {
    size_t begin = 0;  // byte of the sequence's text
    GeneratedToken token;
  };
  void release(ChoicePiece& piece);

  StopFilter filter_;
  bool keep_tokens_;
  std::deque<Waiting> waiting_;
  size_t came_ = 0;        // bytes of text from the engine
  size_t sent_ = 0;        // bytes given out
  size_t characters_ = 0;  // of the tokens given out
};

}  // namespace graft::serving::api
