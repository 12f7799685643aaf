#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/strings.h"
#include "text/jinja/failure.h"
#include "text/jinja/filters.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/format_text.h"
#include "text/jinja/json_text.h"
#include "text/jinja/python_text.h"
#include "text/jinja/text_methods.h"
#include "text/jinja/text_operations.h"
#include "text/jinja/text_predicates.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

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

// A mapping in the order of its keys, as pprint shows it; and those inside of it.
Value sorted_keys(const Value& value) {
  if (const List* list = value.as_list(); list != nullptr && list->view == nullptr) {
    std::vector<Value> items;
    for (const Value& item : list->items) items.push_back(sorted_keys(item));
    return Value::list(std::move(items), list->is_tuple);
  }
  const Dict* dict = value.as_dict();
  if (dict == nullptr) return value;
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key, held] : dict->items) items.emplace_back(key, sorted_keys(held));
  std::stable_sort(items.begin(), items.end(),
                   [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
  return Value::dict(std::move(items));
}

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

Value center_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"width"});
  CallArguments given;
  given.callee = "center";
  given.positional = {Value(arguments.integer(0, "width", 80))};
  return text_methods().at("center")(evaluator, to_text(input), given);
}

Value format_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  if (!arguments.positional.empty() && !arguments.keywords.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  if (arguments.keywords.empty()) {
    return evaluator.text(percent_format(evaluator, to_text(input), Value::list(arguments.positional, true)));
  }
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [name, value] : arguments.keywords) items.emplace_back(arguments.keyword_text(name), value);
  return evaluator.text(percent_format(evaluator, to_text(input), Value::dict(std::move(items))));
}

int64_t length_of(const Value& value) {
  if (const MarkedText* text = value.as_text()) return static_cast<int64_t>(character_count(text->bytes()));
  if (const List* list = value.as_list(); list != nullptr && !list->is_generator()) {
    return static_cast<int64_t>(list->items.size());
  }
  if (const Dict* dict = value.as_dict()) return static_cast<int64_t>(dict->items.size());
  if (value.is_undefined()) return 0;
  fail("object of type " + quoted(value.type_name()) + " has no len()");
}

Value truncate_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"length", "killwords", "end", "leeway"});
  const MarkedText* text = input.as_text();
  const int64_t length = arguments.integer(0, "length", 255);
  const Value* given_end = arguments.get(2, "end");
  const MarkedText end = given_end != nullptr ? to_text(*given_end) : MarkedText("...");
  const Value* given_leeway = arguments.get(3, "leeway");
  const int64_t leeway = given_leeway == nullptr || given_leeway->is_none() ? 5 : arguments.integer(3, "leeway", 5);
  const auto end_length = static_cast<int64_t>(character_count(end.bytes()));
  if (length < end_length) fail("truncate(): expected length >= " + std::to_string(end_length));
  if (leeway < 0) fail("truncate(): expected leeway >= 0");
  if (length_of(input) <= length + leeway) return input;
  if (text == nullptr) fail("truncate(): expected a string, found " + quoted(input.type_name()));
  MarkedText kept = text->slice(0, byte_offset(text->bytes(), static_cast<size_t>(length - end_length)));
  if (!arguments.flag(1, "killwords", false)) {
    if (const size_t space = kept.bytes().rfind(' '); space != std::string::npos) kept = kept.slice(0, space);
  }
  kept.append(end);
  return evaluator.text(std::move(kept));
}

Value wordcount_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  const MarkedText text = to_text(input);
  evaluator.budget.made(text.size());
  int64_t count = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text.bytes(), i);
    std::string one;
    append_utf8(one, c.value);
    const bool is_word = c.value == '_' || is_alnum_text(one);
    count += is_word && !inside ? 1 : 0;
    inside = is_word;
    i += c.size;
  }
  return count;
}

Value pprint_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  MarkedText shown = to_repr(sorted_keys(input));
  if (character_count(shown.bytes()) > 80) fail("pprint of more than one line is not supported; use tojson(indent=2)");
  return evaluator.text(std::move(shown));
}

Value filesizeformat_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"binary"});
  const bool binary = arguments.flag(0, "binary", false);
  std::optional<double> bytes = input.number();
  if (const MarkedText* text = input.as_text()) bytes = parse_float(number_text(*text));
  if (!bytes.has_value()) fail("could not convert to float: '" + printable(to_text(input).bytes(), 60) + "'");
  const double base = binary ? 1024 : 1000;
  if (*bytes == 1) return Value::text("1 Byte");
  if (!std::isfinite(*bytes)) fail("filesizeformat(): the number is not finite");
  if (*bytes < base) {
    const auto whole = truncated(*bytes);
    if (!whole.has_value()) fail("filesizeformat(): the number is too large");
    return Value::text(std::to_string(*whole) + " Bytes");
  }
  static constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base;
  size_t i = 0;
  for (; i < kPrefixes.size(); ++i) {
    unit *= base;
    if (*bytes < unit || i + 1 == kPrefixes.size()) break;
  }
  std::string text = float_digits(base * *bytes / unit, 'f', 1, false) + " ";
  text += binary && kPrefixes[i] == 'k' ? 'K' : kPrefixes[i];
  return evaluator.text(MarkedText(text + (binary ? "iB" : "B")));
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
  if (input.as_text() == nullptr) fail("indent(): expected a string, found " + quoted(input.type_name()));
  MarkedText text = *input.as_text();
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

// int(text, base): underscores between digits, and the prefix of the base where it is 2, 8, 16 or 0.
std::optional<int64_t> parse_integer(std::string digits, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  const size_t sign = !digits.empty() && digits[0] == '-' ? 1 : 0;
  if (digits.size() > sign + 2 && digits[sign] == '0') {
    const char kind = static_cast<char>(digits[sign + 1] | 0x20);
    const int64_t meant = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (meant != 0 && (base == meant || base == 0)) {
      digits.erase(sign, 2);
      base = meant;
      if (digits[sign] == '_') digits.erase(sign, 1);
    }
  }
  if (base == 0) base = 10;
  for (size_t i = 1; i + 1 < digits.size(); ++i) {
    if (digits[i] == '_' && digits[i - 1] != '-' && digits[i + 1] != '_') digits.erase(i, 1);
  }
  int64_t value = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

Value int_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({"default", "base"});
  const Value* fallback = arguments.get(0, "default");
  const Value missing = fallback != nullptr ? *fallback : Value(int64_t{0});
  const int64_t base = arguments.integer(1, "base", 10);
  if (const Undefined* undefined = input.as_undefined()) fail(*undefined->message);
  if (const auto whole = input.integer()) return *whole;
  std::optional<double> number = input.number();
  if (const MarkedText* text = input.as_text()) {
    const std::string digits = number_text(*text);
    if (const auto whole = parse_integer(digits, base)) return *whole;
    number = parse_float(digits);
  }
  if (!number.has_value()) return missing;
  const auto whole = truncated(*number);
  return whole.has_value() ? Value(*whole) : missing;
}

Value float_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({"default"});
  const Value* fallback = arguments.get(0, "default");
  if (const Undefined* undefined = input.as_undefined()) fail(*undefined->message);
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

// round(157, -1): to even on a tie.
int64_t rounded_integer(int64_t value, int64_t precision) {
  if (precision >= 0) return value;
  if (precision < -18) return 0;
  int64_t unit = 1;
  for (int64_t i = 0; i < -precision; ++i) unit *= 10;
  const int64_t rest = ((value % unit) + unit) % unit;
  const int64_t down = value - rest;
  const bool up = rest > unit / 2 || (rest == unit / 2 && (down / unit) % 2 != 0);
  int64_t result = down;
  if (up && __builtin_add_overflow(down, unit, &result)) fail("an integer beyond 64 bits");
  return result;
}

Value round_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({"precision", "method"});
  const int64_t precision = arguments.integer(0, "precision", 0);
  const Value* method = arguments.get(1, "method");
  const std::string how = method != nullptr ? to_text(*method).bytes() : "common";
  const auto number = input.number();
  if (how != "common" && how != "ceil" && how != "floor") fail("method must be common, ceil or floor");
  if (!number.has_value()) fail("type " + std::string(input.type_name()) + " doesn't define __round__ method");
  if (precision < -300 || precision > 20) fail("round(): precision must be from -300 to 20");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (how == "common") {
    // Whole numbers stay integers under the common method, as in Python.
    if (const auto whole = input.integer()) return rounded_integer(*whole, precision);
    if (precision < 0) return std::nearbyint(*number * scale) / scale;
    return rounded(*number, precision);
  }
  if (!std::isfinite(*number)) fail("cannot convert float infinity to integer");
  return (how == "ceil" ? std::ceil(*number * scale) : std::floor(*number * scale)) / scale;
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
      {"center", center_filter},
      {"format", format_filter},
      {"truncate", truncate_filter},
      {"wordcount", wordcount_filter},
      {"pprint", pprint_filter},
      {"filesizeformat", filesizeformat_filter},
      {"indent", indent_filter},
      {"int", int_filter},
      {"float", float_filter},
      {"abs", abs_filter},
      {"round", round_filter},
  };
  return table;
}

}  // namespace graft::text::jinja
