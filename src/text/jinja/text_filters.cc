#include <charconv>
#include <cmath>
#include <limits>

#include "text/jinja/failure.h"
#include "text/jinja/filters.h"
#include "text/jinja/json_text.h"
#include "text/jinja/python_text.h"
#include "text/jinja/text_operations.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

template <MarkedText (*convert)(const MarkedText&)>
Value convert_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  return evaluator.text(convert(to_text(input)));
}

Value trim_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"chars"});
  const Value* characters = arguments.get(0, "chars");
  if (characters == nullptr || characters->is_none())
    return evaluator.text(strip(to_text(input), Side::kBoth, nullptr));
  const std::string set = to_text(*characters).bytes();
  return evaluator.text(strip(to_text(input), Side::kBoth, &set));
}

// Jinja's own: words end at white space, hyphens and opening brackets, not at every character that is no letter.
Value title_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  const MarkedText text = to_text(input);
  const auto separates = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_python_space(c);
  };
  MarkedText result;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    const bool separator = separates(code_point_at(text.bytes(), i).value);
    while (end < text.size() && separates(code_point_at(text.bytes(), end).value) == separator) {
      end += code_point_at(text.bytes(), end).size;
    }
    const size_t first = i + code_point_at(text.bytes(), i).size;
    result.append(upper(text.slice(i, first)));
    result.append(lower(text.slice(first, end)));
    i = end;
  }
  return evaluator.text(std::move(result));
}

Value replace_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"old", "new", "count"});
  const MarkedText from = to_text(arguments.required(0, "old"));
  const MarkedText to = to_text(arguments.required(1, "new"));
  const Value* count = arguments.get(2, "count");
  const int64_t most = count == nullptr || count->is_none() ? -1 : arguments.integer(2, "count", -1);
  return evaluator.text(replace(evaluator, to_text(input), from.bytes(), to, most));
}

Value string_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  return evaluator.text(to_text(input));
}

Value safe_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  MarkedText text = to_text(input);
  text.set_safe();
  return evaluator.text(std::move(text));
}

Value tojson_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = arguments.flag(0, "ensure_ascii", false);
  if (const Value* indent = arguments.get(1, "indent"); indent != nullptr && !indent->is_none()) {
    style.item_separator = ",";
    if (const MarkedText* text = indent->as_text()) {
      style.indent = text->bytes();
    } else {
      const int64_t width = arguments.integer(1, "indent", 0);
      if (width > 100) fail("tojson(): indent is larger than 100");
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }
  if (const Value* separators = arguments.get(2, "separators"); separators != nullptr && !separators->is_none()) {
    const List* pair = separators->as_list();
    if (pair == nullptr || pair->items.size() != 2 || pair->items[0].as_text() == nullptr ||
        pair->items[1].as_text() == nullptr) {
      fail("tojson(): separators must be two strings");
    }
    style.item_separator = pair->items[0].as_text()->bytes();
    style.key_separator = pair->items[1].as_text()->bytes();
  }
  style.sort_keys = arguments.flag(3, "sort_keys", false);
  return evaluator.text(to_json(evaluator, input, style));
}

// indent(width=4, first=False, blank=False)
Value indent_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"width", "first", "blank"});
  const Value* width = arguments.get(0, "width");
  MarkedText indent;
  if (width != nullptr && width->as_text() != nullptr) {
    indent = *width->as_text();
  } else {
    const int64_t spaces = arguments.integer(0, "width", 4);
    if (spaces > 1000) fail("indent(): width is larger than 1000");
    indent.append(std::string(static_cast<size_t>(std::max<int64_t>(spaces, 0)), ' '));
  }
  const bool blank = arguments.flag(2, "blank", false);
  MarkedText text = to_text(input);
  text.append("\n");
  const std::vector<Value> lines = split_lines(text, false);
  MarkedText result;
  for (size_t i = 0; i < lines.size(); ++i) {
    const MarkedText& line = *lines[i].as_text();
    if (i > 0) result.append("\n");
    if (i > 0 ? blank || !line.empty() : arguments.flag(1, "first", false)) result.append(indent);
    result.append(line);
    if (result.size() > kLargestString) evaluator.budget.made(result.size());
  }
  return evaluator.text(std::move(result));
}

std::optional<double> parse_float(const std::string& text) {
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string number_text(const MarkedText& text) {
  std::string digits = strip(text, Side::kBoth, nullptr).bytes();
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.erase(0, 1);
  return digits;
}

std::optional<int64_t> truncated(double value) {
  if (!std::isfinite(value) || std::fabs(value) >= 9.2e18) return std::nullopt;
  return static_cast<int64_t>(value);
}

Value int_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({"default", "base"});
  const Value* fallback = arguments.get(0, "default");
  const Value missing = fallback != nullptr ? *fallback : Value(int64_t{0});
  if (arguments.integer(1, "base", 10) != 10) fail("int(): only base 10 is supported");
  if (const auto whole = input.integer()) return *whole;
  std::optional<double> number = input.number();
  if (const MarkedText* text = input.as_text()) {
    const std::string digits = number_text(*text);
    int64_t value = 0;
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (end.ec == std::errc() && end.ptr == digits.data() + digits.size()) return value;
    number = parse_float(digits);
  }
  if (!number.has_value()) return missing;
  const auto whole = truncated(*number);
  return whole.has_value() ? Value(*whole) : missing;
}

Value float_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({"default"});
  const Value* fallback = arguments.get(0, "default");
  if (const auto number = input.number()) return *number;
  if (const MarkedText* text = input.as_text()) {
    if (const auto number = parse_float(number_text(*text))) return *number;
  }
  return fallback != nullptr ? *fallback : Value(0.0);
}

Value abs_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  if (const double* v = input.as_float()) return std::fabs(*v);
  const auto whole = input.integer();
  if (!whole.has_value() || *whole == std::numeric_limits<int64_t>::min()) {
    fail("bad operand type for abs(): " + quoted(input.type_name()));
  }
  return std::abs(*whole);
}

// Python's round(): to even on a tie of the exact decimal value, which printing with fixed digits does too.
double rounded(double value, int64_t precision) {
  if (!std::isfinite(value)) return value;
  char buffer[512];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, static_cast<int>(precision));
  double result = 0;
  std::from_chars(buffer, end.ptr, result);
  return result;
}

Value round_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({"precision", "method"});
  const int64_t precision = arguments.integer(0, "precision", 0);
  const Value* method = arguments.get(1, "method");
  const std::string how = method != nullptr ? to_text(*method).bytes() : "common";
  const auto number = input.number();
  if (!number.has_value()) fail("type " + std::string(input.type_name()) + " doesn't define __round__ method");
  if (precision < 0 || precision > 20) fail("round(): precision must be from 0 to 20");
  // Whole numbers stay integers under the common method, as in Python.
  if (how == "common")
    return input.integer().has_value() ? Value(*input.integer()) : Value(rounded(*number, precision));
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "ceil") return std::ceil(*number * scale) / scale;
  if (how == "floor") return std::floor(*number * scale) / scale;
  fail("round(): method must be common, ceil or floor");
}

}  // namespace

const FilterTable& text_filters() {
  static const FilterTable table = {
      {"upper", convert_filter<upper>},
      {"lower", convert_filter<lower>},
      {"capitalize", convert_filter<capitalize>},
      {"title", title_filter},
      {"trim", trim_filter},
      {"replace", replace_filter},
      {"string", string_filter},
      {"safe", safe_filter},
      {"tojson", tojson_filter},
      {"indent", indent_filter},
      {"int", int_filter},
      {"float", float_filter},
      {"abs", abs_filter},
      {"round", round_filter},
  };
  return table;
}

}  // namespace graft::text::jinja
