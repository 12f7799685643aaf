#pragma once

#include <string>
#include <string_view>

#include "text/unicode/offset_map.h"

namespace graft::text {

// Makes a new text out of an old one from left to right, in the steps that the package `tokenizers` thinks in, so that
// the offsets come out as its own. Both are valid UTF-8. Stretches that stay as they are cost a copy.
class TextRewrite {
 public:
  // `map`, where given, receives where the new text comes from.
  TextRewrite(std::string_view old, OffsetMap* map) : old_(old), map_(map) { text_.reserve(old.size() + 16); }

  // Everything up to byte `until` of the old text stays as it is.
  void keep(size_t until) { position_ = until > position_ ? until : position_; }
  void drop(size_t until);  // everything up to there goes
  void drop_characters(size_t count);
  // The next old character becomes `c`, and `also` characters behind it go.
  void replace(char32_t c, size_t also = 0);
  // A new character that belongs to the old one before it: to nothing at the very beginning.
  void insert(char32_t c);
  void insert(std::string_view characters);
  // Everything up to byte `until` goes; what takes its place belongs to the character in front of `until`.
  void substitute(size_t until, std::string_view characters);
  // New characters that belong to the old one behind them, which stays.
  void prepend(std::string_view characters);

  // One step of a transformation as the package writes it: 1 is insert(c), 0 and below replace(c, -change).
  void step(char32_t c, int change) { change > 0 ? insert(c) : replace(c, static_cast<size_t>(-change)); }

  [[nodiscard]] size_t position() const { return position_; }  // in the old text
  [[nodiscard]] size_t size();                                 // of the new text so far

  std::string finish();  // the rest of the old text goes
  std::string keep_rest() {
    keep(old_.size());
    return finish();
  }

 private:
  void flush();
  void record(size_t out_begin, size_t in_begin, size_t in_end);
  [[nodiscard]] size_t next_size() const;
  [[nodiscard]] size_t previous_begin() const;

  std::string_view old_;
  OffsetMap* map_;
  std::string text_;
  size_t copied_ = 0;    // old text before this is in the new one, or dropped
  size_t position_ = 0;  // between the two lies what stays as it is
};

}  // namespace graft::text
