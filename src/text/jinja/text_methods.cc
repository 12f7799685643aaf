#include "text/jinja/text_methods.h"

#include <algorithm>

#include "text/jinja/failure.h"
#include "text/jinja/format_spec.h"
#include "text/jinja/format_text.h"
#include "text/jinja/python_text.h"
#include "text/jinja/text_operations.h"
#include "text/jinja/text_predicates.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

// A parameter that is a string; nullptr where it was left out or is none.
const MarkedText* text_argument(const CallArguments& arguments, size_t place, std::string_view name) {
  const Value* value = arguments.get(place, name);
  if (value == nullptr || value->is_none()) return nullptr;
  if (const Undefined* undefined = value->as_undefined()) fail(*undefined->message);
  if (value->as_text() == nullptr) fail(arguments.callee + "(): " + std::string(name) + " must be a string");
  return value->as_text();
}

const MarkedText& required_text(const CallArguments& arguments, size_t place, std::string_view name) {
  static_cast<void>(arguments.required(place, name));
  const MarkedText* text = text_argument(arguments, place, name);
  if (text == nullptr) fail(arguments.callee + "(): " + std::string(name) + " must be a string");
  return *text;
}

template <Side side>
Value strip_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"chars"});
  const MarkedText* characters = text_argument(arguments, 0, "chars");
  return evaluator.text(strip(text, side, characters != nullptr ? &characters->bytes() : nullptr));
}

template <MarkedText (*convert)(const MarkedText&)>
Value convert_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({});
  return evaluator.text(convert(text));
}

template <bool from_right>
Value split_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"sep", "maxsplit"});
  const MarkedText* separator = text_argument(arguments, 0, "sep");
  const std::string* bytes = separator != nullptr ? &separator->bytes() : nullptr;
  const int64_t most = arguments.integer(1, "maxsplit", -1);
  return Value::list(from_right ? split_from_right(evaluator, text, bytes, most) : split(evaluator, text, bytes, most));
}

Value splitlines_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"keepends"});
  evaluator.budget.made(text.size());
  return Value::list(split_lines(text, arguments.flag(0, "keepends", false)));
}

// The part of a text that the arguments `start` and `end` leave, as Python's slices have them, and where it begins.
struct Part {
  size_t begin = 0;
  size_t end = 0;
  bool possible = true;  // false: start lies behind the end
};

Part part_of(const MarkedText& text, const CallArguments& arguments) {
  const auto bound = [&](size_t place, const char* name) -> std::optional<int64_t> {
    const Value* value = arguments.get(place, name);
    if (value == nullptr || value->is_none()) return std::nullopt;
    return arguments.integer(place, name, 0);
  };
  const auto start = bound(1, "start");
  const auto end = bound(2, "end");
  if (!start.has_value() && !end.has_value()) return {0, text.size(), true};
  const auto length = static_cast<int64_t>(character_count(text.bytes()));
  const auto place = [&](std::optional<int64_t> index, int64_t otherwise) {
    if (!index.has_value()) return otherwise;
    return *index < 0 ? std::max<int64_t>(*index + length, 0) : *index;
  };
  const int64_t first = place(start, 0);
  const int64_t last = std::min(place(end, length), length);
  if (first > length || first > last) return {0, 0, false};
  return {byte_offset(text.bytes(), static_cast<size_t>(first)), byte_offset(text.bytes(), static_cast<size_t>(last)),
          true};
}

template <bool at_end>
Value affix_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"affix", "start", "end"});
  const Value& affix = arguments.required(0, "affix");
  const Part part = part_of(text, arguments);
  const std::string_view bytes = std::string_view(text.bytes()).substr(part.begin, part.end - part.begin);
  const auto matches = [&](const Value& candidate) {
    const MarkedText* wanted = candidate.as_text();
    if (wanted == nullptr) fail(arguments.callee + " first arg must be str or a tuple of str");
    if (!part.possible) return false;
    return at_end ? bytes.ends_with(wanted->bytes()) : bytes.starts_with(wanted->bytes());
  };
  const List* several = affix.as_list();
  if (several == nullptr || !several->is_tuple) return matches(affix);
  return std::any_of(several->items.begin(), several->items.end(), matches);
}

template <bool at_end>
Value remove_affix_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"affix"});
  const std::string& affix = required_text(arguments, 0, "affix").bytes();
  const bool present = at_end ? text.bytes().ends_with(affix) : text.bytes().starts_with(affix);
  if (!present) return text.slice(0, text.size());
  return at_end ? text.slice(0, text.size() - affix.size()) : text.slice(affix.size(), text.size());
}

Value replace_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"old", "new", "count"});
  const std::string& from = required_text(arguments, 0, "old").bytes();
  const MarkedText& to = required_text(arguments, 1, "new");
  return evaluator.text(replace(evaluator, text, from, to, arguments.integer(2, "count", -1)));
}

template <bool from_right, bool must_exist>
Value find_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"sub", "start", "end"});
  const std::string& wanted = required_text(arguments, 0, "sub").bytes();
  const Part part = part_of(text, arguments);
  const std::string_view bytes = std::string_view(text.bytes()).substr(part.begin, part.end - part.begin);
  const size_t at = !part.possible ? std::string_view::npos : from_right ? bytes.rfind(wanted) : bytes.find(wanted);
  if (at == std::string_view::npos && must_exist) fail("substring not found");
  if (at == std::string_view::npos) return int64_t{-1};
  return static_cast<int64_t>(character_count(std::string_view(text.bytes()).substr(0, part.begin + at)));
}

Value count_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"sub", "start", "end"});
  const std::string& wanted = required_text(arguments, 0, "sub").bytes();
  const Part part = part_of(text, arguments);
  if (!part.possible) return int64_t{0};
  const std::string_view bytes = std::string_view(text.bytes()).substr(part.begin, part.end - part.begin);
  if (wanted.empty()) return static_cast<int64_t>(character_count(bytes)) + 1;
  int64_t count = 0;
  for (size_t at = bytes.find(wanted); at != std::string_view::npos; at = bytes.find(wanted, at + wanted.size())) {
    ++count;
  }
  return count;
}

Value join_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"iterable"});
  return evaluator.text(join(evaluator, text, evaluator.items_of(arguments.required(0, "iterable")), true));
}

template <bool (*holds)(std::string_view)>
Value all_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({});
  return holds(text.bytes());
}

// center, ljust, rjust
template <char align>
Value justify_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"width", "fillchar"});
  static_cast<void>(arguments.required(0, "width"));
  const int64_t width = arguments.integer(0, "width", 0);
  if (width > kWidestField) fail(arguments.callee + "(): width is larger than " + std::to_string(kWidestField));
  const MarkedText* given = text_argument(arguments, 1, "fillchar");
  const MarkedText fill = given != nullptr ? *given : MarkedText(" ");
  if (character_count(fill.bytes()) != 1) fail("The fill character must be exactly one character long");
  const int64_t missing = std::max<int64_t>(width - static_cast<int64_t>(character_count(text.bytes())), 0);
  // str.center() puts the odd character to the left where the width is odd too.
  const int64_t left = align == '<' ? 0 : align == '>' ? missing : missing / 2 + (missing & width & 1);
  MarkedText result;
  for (int64_t i = 0; i < left; ++i) result.append(fill);
  result.append(text);
  for (int64_t i = left; i < missing; ++i) result.append(fill);
  return evaluator.text(std::move(result));
}

Value zfill_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"width"});
  static_cast<void>(arguments.required(0, "width"));
  const int64_t width = arguments.integer(0, "width", 0);
  if (width > kWidestField) fail("zfill(): width is larger than " + std::to_string(kWidestField));
  const bool has_sign = !text.empty() && (text.bytes()[0] == '+' || text.bytes()[0] == '-');
  return evaluator.text(padded(text, "0", '=', width, has_sign ? 1 : 0));
}

template <bool from_right>
Value partition_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"sep"});
  const MarkedText& separator = required_text(arguments, 0, "sep");
  if (separator.empty()) fail("empty separator");
  const size_t at = from_right ? text.bytes().rfind(separator.bytes()) : text.bytes().find(separator.bytes());
  evaluator.budget.made(text.size());
  if (at == std::string::npos) {
    const Value empty = Value::text("");
    return from_right ? Value::list({empty, empty, text}, true) : Value::list({text, empty, empty}, true);
  }
  return Value::list({text.slice(0, at), separator, text.slice(at + separator.size(), text.size())}, true);
}

Value expandtabs_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"tabsize"});
  const int64_t size = arguments.integer(0, "tabsize", 8);
  if (size > 1000) fail("expandtabs(): tabsize is larger than 1000");
  int64_t column = 0;
  MarkedText result = text.map_characters([&](char32_t c, std::string& out) {
    if (c == '\t') {
      const int64_t spaces = size > 0 ? size - column % size : 0;
      out.append(static_cast<size_t>(spaces), ' ');
      column += spaces;
      return;
    }
    column = c == '\n' || c == '\r' ? 0 : column + 1;
    append_utf8(out, c);
  });
  return evaluator.text(std::move(result));
}

Value format_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  return evaluator.text(brace_format(evaluator, text, arguments));
}

Value format_map_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"mapping"});
  const Dict* dict = arguments.required(0, "mapping").as_dict();
  if (dict == nullptr) fail("format_map() needs a mapping");
  CallArguments named;
  for (const auto& [key, value] : dict->items) {
    if (key.as_text() != nullptr) named.keywords.emplace_back(key.as_text()->bytes(), value);
  }
  return evaluator.text(brace_format(evaluator, text, named));
}

}  // namespace

const std::map<std::string_view, TextMethod>& text_methods() {
  static const std::map<std::string_view, TextMethod> table = {
      {"strip", strip_method<Side::kBoth>},
      {"lstrip", strip_method<Side::kLeft>},
      {"rstrip", strip_method<Side::kRight>},
      {"upper", convert_method<upper>},
      {"lower", convert_method<lower>},
      {"title", convert_method<title>},
      {"capitalize", convert_method<capitalize>},
      {"split", split_method<false>},
      {"rsplit", split_method<true>},
      {"splitlines", splitlines_method},
      {"startswith", affix_method<false>},
      {"endswith", affix_method<true>},
      {"removeprefix", remove_affix_method<false>},
      {"removesuffix", remove_affix_method<true>},
      {"replace", replace_method},
      {"find", find_method<false, false>},
      {"rfind", find_method<true, false>},
      {"index", find_method<false, true>},
      {"rindex", find_method<true, true>},
      {"count", count_method},
      {"join", join_method},
      {"swapcase", convert_method<swap_case>},
      {"casefold", convert_method<case_fold>},
      {"center", justify_method<'^'>},
      {"ljust", justify_method<'<'>},
      {"rjust", justify_method<'>'>},
      {"zfill", zfill_method},
      {"partition", partition_method<false>},
      {"rpartition", partition_method<true>},
      {"expandtabs", expandtabs_method},
      {"format", format_method},
      {"format_map", format_map_method},
      {"isalpha", all_method<is_alpha_text>},
      {"isalnum", all_method<is_alnum_text>},
      {"isascii", all_method<is_ascii_text>},
      {"isdecimal", all_method<is_decimal_text>},
      {"isdigit", all_method<is_digit_text>},
      {"isnumeric", all_method<is_numeric_text>},
      {"isspace", all_method<is_space_text>},
      {"isupper", all_method<is_upper_text>},
      {"islower", all_method<is_lower_text>},
      {"istitle", all_method<is_title_text>},
      {"isprintable", all_method<is_printable_text>},
      {"isidentifier", all_method<is_identifier_text>},
  };
  return table;
}

}  // namespace graft::text::jinja
