#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace graft::recipe {

// A row of the data, tokenised.
struct Example {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> supervised;  // [tokens]: 1 where the token is to be learned from the ones before it
  int64_t row = 0;                  // in the data file, from 1
  int32_t label = -1;               // of classification: which of PreparedData::labels
};

// The same without owning it.
struct ExampleView {
  std::span<const int32_t> tokens;
  std::span<const uint8_t> supervised;
  int64_t row = 0;
  int32_t label = -1;

  ExampleView() = default;
  ExampleView(const Example& example)  // NOLINT(google-explicit-constructor)
      : tokens(example.tokens), supervised(example.supervised), row(example.row), label(example.label) {}
};

// Tokens that carry loss. The first token never does: nothing comes before it.
int64_t supervised_tokens(const ExampleView& example);

// Shortens to `limit` tokens, so that the answer survives: the beginning of what comes before the first supervised
// token goes first (a special token at the very start, such as BOS, stays, and so does one token to predict from), then
// the end of the row. Returns whether anything was cut.
bool truncate(Example& example, int64_t limit, const text::Tokenizer& tokenizer);

// A document as pieces of at most `limit` (at least 2) tokens. Each piece but the first begins with the last token of
// the one before, so that every token is predicted once, from what comes before it in its piece.
std::vector<Example> cut_document(Example example, int64_t limit);

// What stands around what carries loss.
struct LossMarks {
  std::string begin = "[[";
  std::string end = "]]";
};

// The row as text with what carries loss marked, for people who want to see that the mask is right.
std::string preview(const ExampleView& example, const text::Tokenizer& tokenizer, const LossMarks& marks = {});

}  // namespace graft::recipe
