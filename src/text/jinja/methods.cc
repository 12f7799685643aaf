#include <algorithm>
#include <map>

#include "text/jinja/evaluator.h"
#include "text/jinja/failure.h"
#include "text/jinja/python_text.h"
#include "text/jinja/text_operations.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

using TextMethod = Value (*)(Evaluator&, const MarkedText&, CallArguments&);
using ListMethod = Value (*)(Evaluator&, const List&, CallArguments&);
using DictMethod = Value (*)(Evaluator&, const Dict&, CallArguments&);

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

template <bool at_end>
Value affix_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"affix"});
  const Value& affix = arguments.required(0, "affix");
  const auto matches = [&](const Value& candidate) {
    const MarkedText* part = candidate.as_text();
    if (part == nullptr) fail(arguments.callee + " first arg must be str or a tuple of str");
    return at_end ? text.bytes().ends_with(part->bytes()) : text.bytes().starts_with(part->bytes());
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
  arguments.accept({"sub"});
  const std::string& part = required_text(arguments, 0, "sub").bytes();
  const size_t at = from_right ? text.bytes().rfind(part) : text.bytes().find(part);
  if (at == std::string::npos && must_exist) fail("substring not found");
  if (at == std::string::npos) return int64_t{-1};
  return static_cast<int64_t>(character_count(std::string_view(text.bytes()).substr(0, at)));
}

Value count_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"sub"});
  const std::string& part = required_text(arguments, 0, "sub").bytes();
  if (part.empty()) return static_cast<int64_t>(character_count(text.bytes())) + 1;
  int64_t count = 0;
  for (size_t at = text.bytes().find(part); at != std::string::npos; at = text.bytes().find(part, at + part.size())) {
    ++count;
  }
  return count;
}

Value join_method(Evaluator& evaluator, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({"iterable"});
  return evaluator.text(join(evaluator, text, evaluator.items_of(arguments.required(0, "iterable")), true));
}

// isdigit() and the like, for text that is not empty.
template <bool (*holds)(char32_t)>
Value all_method(Evaluator& /*evaluator*/, const MarkedText& text, CallArguments& arguments) {
  arguments.accept({});
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text.bytes(), i);
    if (!holds(c.value)) return false;
    i += c.size;
  }
  return !text.empty();
}

bool is_ascii_digit(char32_t c) { return c >= '0' && c <= '9'; }

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
      {"isspace", all_method<is_python_space>},
      {"isdigit", all_method<is_ascii_digit>},
  };
  return table;
}

Value list_index(Evaluator& evaluator, const List& list, CallArguments& arguments) {
  arguments.accept({"value"});
  evaluator.budget.step(list.items.size());
  const Value& wanted = arguments.required(0, "value");
  const auto found =
      std::find_if(list.items.begin(), list.items.end(), [&](const Value& v) { return equal(v, wanted); });
  if (found == list.items.end()) fail("the value is not in the list");
  return static_cast<int64_t>(found - list.items.begin());
}

Value list_count(Evaluator& evaluator, const List& list, CallArguments& arguments) {
  arguments.accept({"value"});
  evaluator.budget.step(list.items.size());
  const Value& wanted = arguments.required(0, "value");
  return static_cast<int64_t>(
      std::count_if(list.items.begin(), list.items.end(), [&](const Value& v) { return equal(v, wanted); }));
}

const std::map<std::string_view, ListMethod>& list_methods() {
  static const std::map<std::string_view, ListMethod> table = {
      {"index", list_index},
      {"count", list_count},
      {"copy", [](Evaluator&, const List& list, CallArguments&) { return Value::list(list.items, list.is_tuple); }},
  };
  return table;
}

Value dict_items(Evaluator& evaluator, const Dict& dict, CallArguments& arguments) {
  arguments.accept({});
  evaluator.budget.step(dict.items.size());
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items) items.push_back(Value::list({key, value}, true));
  return Value::list(std::move(items), false, "dict_items");
}

template <bool keys>
Value dict_part(Evaluator& evaluator, const Dict& dict, CallArguments& arguments) {
  arguments.accept({});
  evaluator.budget.step(dict.items.size());
  std::vector<Value> items;
  for (const auto& [key, value] : dict.items) items.push_back(keys ? key : value);
  return Value::list(std::move(items), false, keys ? "dict_keys" : "dict_values");
}

Value dict_get(Evaluator& evaluator, const Dict& dict, CallArguments& arguments) {
  arguments.accept({"key", "default"});
  evaluator.budget.step(dict.items.size() / 8);
  if (const Value* found = dict.find(arguments.required(0, "key"))) return *found;
  const Value* fallback = arguments.get(1, "default");
  return fallback != nullptr ? *fallback : Value();
}

const std::map<std::string_view, DictMethod>& dict_methods() {
  static const std::map<std::string_view, DictMethod> table = {
      {"items", dict_items},
      {"keys", dict_part<true>},
      {"values", dict_part<false>},
      {"get", dict_get},
      {"copy", [](Evaluator&, const Dict& dict, CallArguments&) { return Value::dict(dict.items); }},
  };
  return table;
}

// Methods that change their object: Jinja's immutable sandbox forbids them.
bool is_forbidden(const Value& object, std::string_view name) {
  static constexpr std::string_view kOfLists[] = {"append", "reverse", "insert", "sort",
                                                  "extend", "remove",  "pop",    "clear"};
  static constexpr std::string_view kOfDicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
  const auto among = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  if (const List* list = object.as_list()) return !list->is_tuple && among(kOfLists);
  return object.as_dict() != nullptr && among(kOfDicts);
}

template <class Held, class Table>
std::optional<Value> bound(Evaluator& evaluator, const Table& table, const Value& object, const Held* held,
                           std::string_view name) {
  const auto found = table.find(name);
  if (held == nullptr || found == table.end()) return std::nullopt;
  const auto function = found->second;
  // `object` keeps what `held` points to.
  return Value(std::make_shared<const Callable>(
      Callable{std::string(name), [&evaluator, function, object, held](CallArguments& arguments) {
                 return function(evaluator, *held, arguments);
               }}));
}

Value loop_cycle(Evaluator& /*evaluator*/, const Loop& loop, CallArguments& arguments) {
  if (arguments.positional.empty() || !arguments.keywords.empty()) fail("no items for cycling given");
  return arguments.positional[loop.index0 % arguments.positional.size()];
}

const std::map<std::string_view, Value (*)(Evaluator&, const Loop&, CallArguments&)>& loop_methods() {
  static const std::map<std::string_view, Value (*)(Evaluator&, const Loop&, CallArguments&)> table = {
      {"cycle", loop_cycle}};
  return table;
}

}  // namespace

std::optional<Value> method(Evaluator& evaluator, const Value& object, std::string_view name) {
  if (is_forbidden(object, name)) {
    return Value::undefined("access to attribute " + quoted(name) + " of " + quoted(object.type_name()) +
                            " object is unsafe: templates cannot change values");
  }
  if (object.as_text() != nullptr && object.as_text()->safe()) {
    return Value::undefined("methods of text that went through 'safe' are not supported");
  }
  if (auto found = bound(evaluator, text_methods(), object, object.as_text(), name)) return found;
  if (auto found = bound(evaluator, list_methods(), object, object.as_list(), name)) return found;
  if (auto found = bound(evaluator, dict_methods(), object, object.as_dict(), name)) return found;
  return bound(evaluator, loop_methods(), object, object.as_loop(), name);
}

}  // namespace graft::text::jinja
