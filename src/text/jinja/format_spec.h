#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace graft::text::jinja {

// Python's format specification: [[fill]align][sign][z][#][0][width][grouping][.precision][type].
struct FormatSpec {
  std::string fill = " ";  // one character
  char align = '\0';       // < > ^ =; 0: what the type has
  char sign = '-';         // - + or a space
  bool alternate = false;
  int64_t width = 0;
  char grouping = '\0';  // , or _
  std::optional<int64_t> precision;
  char type = '\0';
};

// Wider or more precise than this is an error: templates have no use for it.
inline constexpr int64_t kWidestField = 10'000;
inline constexpr int64_t kMostDigits = 400;

FormatSpec parse_format_spec(std::string_view text);
// format(value, spec)
MarkedText format_value(const Value& value, const FormatSpec& spec, bool is_empty_spec);

// A number without its sign, as the types d, b, o, x, X or e, f, g, % and their capitals print it.
std::string integer_digits(int64_t value, char type);
std::string float_digits(double value, char type, int64_t precision, bool alternate);
// `text` filled up to `width` characters. `sign_size`: what stays in front of zeros ('=').
MarkedText padded(const MarkedText& text, const std::string& fill, char align, int64_t width, size_t sign_size);

}  // namespace graft::text::jinja
