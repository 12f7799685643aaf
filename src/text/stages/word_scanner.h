#pragma once

#include <optional>
#include <string_view>

#include "text/stages/pre_tokenizer.h"
#include "text/unicode/char_class.h"

namespace graft::text {

// The patterns that nearly all byte-level tokenizers use, matched by hand: a general regex engine takes most of the
// time of tokenising. Each covers all of any text, so that cutting at its matches and keeping them is the same.
enum class KnownPattern {
  kGpt2,    // contractions in lower case, one space in front of a word, numbers of any length
  kLlama3,  // contractions in any case, any character in front of a word, numbers of up to three digits
  kQwen2,   // as kLlama3, digit by digit
};

std::string_view pattern_source(KnownPattern pattern);
std::optional<KnownPattern> known_pattern(std::string_view source);

class WordScanner {
 public:
  explicit WordScanner(KnownPattern pattern) : pattern_(pattern), classes_(CharClasses::get()) {}

  // Appends the matches within one piece of valid UTF-8.
  void split(std::string_view text, const Piece& piece, std::vector<Piece>& out) const;

 private:
  // Each returns the end of the match that starts at `i`, or `i` where there is none.
  [[nodiscard]] size_t word_end(std::string_view text, size_t i) const;
  [[nodiscard]] size_t gpt2_word_end(std::string_view text, size_t i) const;
  [[nodiscard]] size_t llama3_word_end(std::string_view text, size_t i) const;
  [[nodiscard]] size_t contraction_end(std::string_view text, size_t i) const;
  [[nodiscard]] size_t run_end(std::string_view text, size_t i, uint8_t char_class) const;
  [[nodiscard]] size_t other_end(std::string_view text, size_t i) const;
  [[nodiscard]] size_t space_end(std::string_view text, size_t i) const;
  [[nodiscard]] size_t lines_end(std::string_view text, size_t i) const;
  [[nodiscard]] size_t number_end(std::string_view text, size_t i, int most) const;

  KnownPattern pattern_;
  const CharClasses& classes_;
};

}  // namespace graft::text
