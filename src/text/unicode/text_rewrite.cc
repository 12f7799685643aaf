#include "text/unicode/text_rewrite.h"

#include "text/unicode/code_points.h"

namespace graft::text {

void TextRewrite::flush() {
  text_.append(old_, copied_, position_ - copied_);
  copied_ = position_;
}

size_t TextRewrite::size() { return text_.size() + (position_ - copied_); }

size_t TextRewrite::next_size() const { return position_ < old_.size() ? code_point_at(old_, position_).size : 0; }

size_t TextRewrite::previous_begin() const {
  return position_ == 0 ? 0 : position_ - code_point_before(old_, position_).size;
}

void TextRewrite::record(size_t out_begin, size_t in_begin, size_t in_end) {
  if (map_ != nullptr) map_->replaced(out_begin, text_.size(), in_begin, in_end, position_);
}

void TextRewrite::drop(size_t until) {
  if (until <= position_) return;
  flush();
  copied_ = position_ = until;
  record(text_.size(), until, until);
}

void TextRewrite::drop_characters(size_t count) {
  size_t until = position_;
  for (; count > 0 && until < old_.size(); --count) until += code_point_at(old_, until).size;
  drop(until);
}

void TextRewrite::replace(char32_t c, size_t also) {
  const size_t size = next_size();
  if (size > 0 && code_point_at(old_, position_).value == c) {
    position_ += size;
  } else {
    flush();
    const size_t begin = position_;
    const size_t out_begin = text_.size();
    append_utf8(text_, c);
    copied_ = position_ = begin + size;
    record(out_begin, begin, position_);
  }
  if (also > 0) drop_characters(also);
}

void TextRewrite::insert(char32_t c) {
  std::string character;
  append_utf8(character, c);
  insert(character);
}

void TextRewrite::insert(std::string_view characters) {
  if (characters.empty()) return;
  flush();
  const size_t out_begin = text_.size();
  text_ += characters;
  record(out_begin, previous_begin(), position_);
}

void TextRewrite::substitute(size_t until, std::string_view characters) {
  if (characters.empty()) return drop(until);
  flush();
  const size_t out_begin = text_.size();
  text_ += characters;
  copied_ = position_ = until;
  record(out_begin, previous_begin(), until);
}

void TextRewrite::prepend(std::string_view characters) {
  if (characters.empty()) return;
  flush();
  const size_t out_begin = text_.size();
  text_ += characters;
  record(out_begin, position_, position_ + next_size());
}

std::string TextRewrite::finish() {
  flush();
  return std::move(text_);
}

}  // namespace graft::text
