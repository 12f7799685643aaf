#include "text/jinja/format_spec.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/jinja/failure.h"
#include "text/jinja/python_text.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

int64_t read_number(std::string_view text, size_t& i, int64_t limit) {
  int64_t number = 0;
  for (; i < text.size() && is_digit(text[i]); ++i) {
    number = number * 10 + (text[i] - '0');
    if (number > limit) fail("a format's width or precision is larger than " + std::to_string(limit));
  }
  return number;
}

// 1234567 -> 1,234,567; hexadecimal and the like in groups of four.
std::string grouped(const std::string& digits, char separator, size_t group) {
  const size_t end = std::min(digits.find_first_of(".e%"), digits.size());
  std::string whole;
  for (size_t i = 0; i < end; ++i) {
    if (i > 0 && (end - i) % group == 0) whole += separator;
    whole += digits[i];
  }
  return whole + digits.substr(end);
}

std::string capital(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return text;
}

std::string to_chars_text(double value, std::chars_format format, int64_t precision) {
  char buffer[1024];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format, static_cast<int>(precision));
  return {buffer, end.ptr};
}

// %g: the shorter of %e and %f at so many significant digits; no zeros at the end unless `alternate`.
std::string general_digits(double value, int64_t precision, bool alternate) {
  precision = std::max<int64_t>(precision, 1);
  const std::string scientific = to_chars_text(value, std::chars_format::scientific, precision - 1);
  const size_t e = scientific.find('e');
  int exponent = 0;
  std::from_chars(scientific.data() + e + (scientific[e + 1] == '+' ? 2 : 1), scientific.data() + scientific.size(),
                  exponent);
  const bool fixed = exponent >= -4 && exponent < precision;
  std::string digits =
      fixed ? to_chars_text(value, std::chars_format::fixed, precision - 1 - exponent) : scientific.substr(0, e);
  if (!alternate && digits.find('.') != std::string::npos) {
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
  } else if (alternate && digits.find('.') == std::string::npos) {
    digits += '.';
  }
  return fixed ? digits : digits + scientific.substr(e);
}

char sign_of(const FormatSpec& spec, bool negative) {
  if (negative) return '-';
  return spec.sign == '-' ? '\0' : spec.sign;
}

MarkedText format_number(std::string digits, bool negative, const std::string& prefix, size_t group,
                         const FormatSpec& spec) {
  std::string head;
  if (const char sign = sign_of(spec, negative); sign != '\0') head += sign;
  head += prefix;
  const char align = spec.align == '\0' ? '>' : spec.align;
  if (spec.grouping != '\0') {
    digits = grouped(digits, spec.grouping, group);
    // Zeros that fill up are grouped too.
    const auto width = static_cast<size_t>(std::max<int64_t>(spec.width, 0));
    if (align == '=' && spec.fill == "0" && digits.size() + head.size() < width) {
      const size_t end = std::min(digits.find_first_of(".e%"), digits.size());
      std::string whole = digits.substr(0, end);
      std::erase(whole, spec.grouping);
      const std::string tail = digits.substr(end);
      while (grouped(whole, spec.grouping, group).size() + tail.size() + head.size() < width) whole.insert(0, 1, '0');
      digits = grouped(whole, spec.grouping, group) + tail;
    }
  }
  return padded(MarkedText(head + digits), spec.fill, align, spec.width, head.size());
}

MarkedText format_integer(int64_t value, const FormatSpec& spec) {
  if (spec.precision.has_value()) fail("Precision not allowed in integer format specifier");
  const char type = spec.type == '\0' || spec.type == 'n' ? 'd' : spec.type;
  if (type == 'c') {
    if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) fail("%c arg not in range(0x110000)");
    std::string character;
    append_utf8(character, static_cast<char32_t>(value));
    return padded(MarkedText(std::move(character)), spec.fill, spec.align == '\0' ? '<' : spec.align, spec.width, 0);
  }
  if (spec.grouping == ',' && type != 'd') fail(std::string("Cannot specify ',' with '") + type + "'.");
  std::string prefix;
  if (spec.alternate && type != 'd') prefix = std::string("0") + type;
  return format_number(integer_digits(value, type), value < 0, prefix, type == 'd' ? 3 : 4, spec);
}

MarkedText format_float(double value, const FormatSpec& spec) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  std::string digits;
  if (spec.type == '\0' && !spec.precision.has_value()) {
    digits = float_repr(std::fabs(value));
  } else if (spec.type == '\0') {
    // As g, but with a digit behind the point where there is no exponent.
    digits = float_digits(value, 'g', *spec.precision, spec.alternate);
    const bool plain = digits.find_first_of(".en") == std::string::npos;
    if (plain && static_cast<int64_t>(digits.size()) >= *spec.precision) {
      digits = float_digits(value, 'e', std::max<int64_t>(*spec.precision - 1, 0), spec.alternate);
    } else if (plain) {
      digits += ".0";
    }
  } else {
    digits = float_digits(value, spec.type, spec.precision.value_or(6), spec.alternate);
  }
  return format_number(std::move(digits), negative, "", 3, spec);
}

MarkedText format_text(const MarkedText& text, const FormatSpec& spec) {
  if (spec.type != '\0' && spec.type != 's')
    fail(std::string("Unknown format code '") + spec.type + "' for object of type 'str'");
  if (spec.sign != '-') fail("Sign not allowed in string format specifier");
  if (spec.align == '=') fail("'=' alignment not allowed in string format specifier");
  if (spec.grouping != '\0') fail("Cannot specify ',' with 's'.");
  if (spec.alternate) fail("Alternate form (#) not allowed in string format specifier");
  MarkedText cut = text;
  if (spec.precision.has_value()) {
    cut = text.slice(0, byte_offset(text.bytes(), static_cast<size_t>(*spec.precision)));
  }
  return padded(cut, spec.fill, spec.align == '\0' ? '<' : spec.align, spec.width, 0);
}

}  // namespace

FormatSpec parse_format_spec(std::string_view text) {
  FormatSpec spec;
  size_t i = 0;
  const auto at = [&](size_t k) { return k < text.size() ? text[k] : '\0'; };
  bool filled = false;
  if (!text.empty()) {
    const size_t first = code_point_at(text, 0).size;
    if (is_align(at(first))) {
      spec.fill = std::string(text.substr(0, first));
      spec.align = at(first);
      filled = true;
      i = first + 1;
    } else if (is_align(at(0))) {
      spec.align = at(0);
      i = 1;
    }
  }
  if (at(i) == '+' || at(i) == '-' || at(i) == ' ') spec.sign = text[i++];
  if (at(i) == '#') {
    spec.alternate = true;
    ++i;
  }
  if (at(i) == '0' && !filled) {
    spec.fill = "0";
    if (spec.align == '\0') spec.align = '=';
    ++i;
  }
  spec.width = read_number(text, i, kWidestField);
  if (at(i) == ',' || at(i) == '_') spec.grouping = text[i++];
  if (at(i) == '.') {
    ++i;
    if (!is_digit(at(i))) fail("Format specifier missing precision");
    spec.precision = read_number(text, i, kMostDigits);
  }
  if (i < text.size()) spec.type = text[i++];
  static constexpr std::string_view kTypes = "bcdeEfFgGnosxX%";
  if (i < text.size() || (spec.type != '\0' && kTypes.find(spec.type) == std::string_view::npos)) {
    fail("Invalid format specifier " + quoted(text));
  }
  return spec;
}

std::string integer_digits(int64_t value, char type) {
  const auto size = value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
  const int base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  char buffer[72];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, size, base);
  std::string digits(buffer, end.ptr);
  return type == 'X' ? capital(std::move(digits)) : digits;
}

std::string float_digits(double value, char type, int64_t precision, bool alternate) {
  const double size = std::fabs(value);
  std::string digits;
  if (!std::isfinite(value)) {
    digits = std::isnan(value) ? "nan" : "inf";
  } else if (type == 'e' || type == 'E') {
    digits = to_chars_text(size, std::chars_format::scientific, precision);
  } else if (type == 'f' || type == 'F' || type == '%') {
    digits = to_chars_text(type == '%' ? size * 100 : size, std::chars_format::fixed, precision);
  } else {
    digits = general_digits(size, precision, alternate);
  }
  if (alternate && precision == 0 && (type == 'f' || type == 'F')) digits += '.';
  if (type == '%') digits += '%';
  return type == 'E' || type == 'F' || type == 'G' ? capital(std::move(digits)) : digits;
}

MarkedText padded(const MarkedText& text, const std::string& fill, char align, int64_t width, size_t sign_size) {
  const auto length = static_cast<int64_t>(character_count(text.bytes()));
  const int64_t missing = std::max<int64_t>(width - length, 0);
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  MarkedText result;
  const auto add = [&](int64_t count) {
    for (int64_t i = 0; i < count; ++i) result.append(fill);
  };
  if (align == '=') {
    result.append_slice(text, 0, sign_size);
    add(missing);
    result.append_slice(text, sign_size, text.size());
    return result;
  }
  add(left);
  result.append(text);
  add(missing - left);
  return result;
}

MarkedText format_value(const Value& value, const FormatSpec& spec, bool is_empty_spec) {
  if (is_empty_spec) return to_text(value);
  if (const MarkedText* text = value.as_text()) return format_text(*text, spec);
  const bool wants_float = spec.type != '\0' && std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  if (const double* number = value.as_float()) {
    if (spec.type != '\0' && spec.type != 'n' && !wants_float) {
      fail(std::string("Unknown format code '") + spec.type + "' for object of type 'float'");
    }
    FormatSpec general = spec;
    if (spec.type == 'n') general.type = 'g';
    return format_float(*number, general);
  }
  if (const auto number = value.integer()) {
    if (spec.type == 's') fail("Unknown format code 's' for object of type 'int'");
    return wants_float ? format_float(static_cast<double>(*number), spec) : format_integer(*number, spec);
  }
  fail("unsupported format string passed to " + std::string(value.type_name()) + ".__format__");
}

}  // namespace graft::text::jinja
