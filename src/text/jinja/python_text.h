#pragma once

#include <string>
#include <string_view>

#include "text/jinja/marked_text.h"

namespace graft::text::jinja {

// Python's str methods.
bool is_python_space(char32_t c);
// `characters` empty: white space.
enum class Side { kLeft = 1, kRight = 2, kBoth = 3 };
MarkedText strip(const MarkedText& text, Side side, const std::string* characters);
MarkedText upper(const MarkedText& text);
MarkedText lower(const MarkedText& text);
MarkedText title(const MarkedText& text);
MarkedText capitalize(const MarkedText& text);
MarkedText swap_case(const MarkedText& text);
MarkedText case_fold(const MarkedText& text);

size_t character_count(std::string_view text);
// The byte offset of the n-th character, or the size where there are fewer.
size_t byte_offset(std::string_view text, size_t character);

// repr() of a string.
MarkedText string_repr(const MarkedText& text);

}  // namespace graft::text::jinja
