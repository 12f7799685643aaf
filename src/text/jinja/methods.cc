#include <algorithm>
#include <map>

#include "text/jinja/evaluator.h"
#include "text/jinja/failure.h"
#include "text/jinja/text_methods.h"

namespace graft::text::jinja {
namespace {

using ListMethod = Value (*)(Evaluator&, const List&, CallArguments&);
using DictMethod = Value (*)(Evaluator&, const Dict&, CallArguments&);

Value list_index(Evaluator& evaluator, const List& list, CallArguments& arguments) {
  arguments.accept({"value", "start", "stop"});
  evaluator.budget.step(list.items.size());
  const Value& wanted = arguments.required(0, "value");
  const auto length = static_cast<int64_t>(list.items.size());
  const auto place = [&](int64_t index) { return std::clamp<int64_t>(index < 0 ? index + length : index, 0, length); };
  const int64_t stop = place(arguments.integer(2, "stop", length));
  for (int64_t i = place(arguments.integer(1, "start", 0)); i < stop; ++i) {
    if (equal(list.items[static_cast<size_t>(i)], wanted)) return i;
  }
  fail("the value is not in the list");
}

Value list_copy(Evaluator& evaluator, const List& list, CallArguments& arguments) {
  arguments.accept({});
  evaluator.budget.step(list.items.size());
  return Value::list(list.items);
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
      {"copy", list_copy},
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
  check_hashable(arguments.required(0, "key"));
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

// A method looks at all of its text.
void charge(Evaluator& evaluator, const Value& object) {
  if (const MarkedText* text = object.as_text()) evaluator.budget.step(text->size() / 1024);
}

template <class Held, class Table>
std::optional<Value> bound(Evaluator& evaluator, const Table& table, const Value& object, Held* held,
                           std::string_view name) {
  const auto found = table.find(name);
  if (held == nullptr || found == table.end()) return std::nullopt;
  const auto function = found->second;
  // `object` keeps what `held` points to.
  return Value(
      std::make_shared<const Callable>(Callable{std::string(name),
                                                [&evaluator, function, object, held](CallArguments& arguments) {
                                                  charge(evaluator, object);
                                                  return function(evaluator, *held, arguments);
                                                },
                                                {}}));
}

Value loop_cycle(Evaluator& /*evaluator*/, const Loop& loop, CallArguments& arguments) {
  if (arguments.positional.empty() || !arguments.keywords.empty()) fail("no items for cycling given");
  return arguments.positional[loop.index0 % arguments.positional.size()];
}

// Whether the value differs from that of the last call.
Value loop_changed(Evaluator& evaluator, const Loop& loop, CallArguments& arguments) {
  if (!arguments.keywords.empty()) fail("changed() takes no keyword arguments");
  evaluator.budget.step(arguments.positional.size());
  const Value given = Value::list(arguments.positional, true);
  std::vector<Value>& last = loop.state->changed;
  if (!last.empty() && equal(last.front(), given)) return false;
  last = {given};
  return true;
}

using LoopMethod = Value (*)(Evaluator&, const Loop&, CallArguments&);
const std::map<std::string_view, LoopMethod>& loop_methods() {
  static const std::map<std::string_view, LoopMethod> table = {{"cycle", loop_cycle}, {"changed", loop_changed}};
  return table;
}

Value cycler_next(Evaluator& /*evaluator*/, Namespace& cycler, CallArguments& arguments) {
  arguments.accept({});
  const size_t place = cycler.place;
  cycler.place = (place + 1) % cycler.cycle.size();
  return cycler.cycle[place];
}

Value cycler_reset(Evaluator& /*evaluator*/, Namespace& cycler, CallArguments& arguments) {
  arguments.accept({});
  cycler.place = 0;
  return {};
}

using CyclerMethod = Value (*)(Evaluator&, Namespace&, CallArguments&);
const std::map<std::string_view, CyclerMethod>& cycler_methods() {
  static const std::map<std::string_view, CyclerMethod> table = {{"next", cycler_next}, {"reset", cycler_reset}};
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
  if (const List* list = object.as_list()) {
    const bool has = list->is_indexable() && (name != "copy" || (list->view == nullptr && !list->is_tuple));
    return has ? bound(evaluator, list_methods(), object, list, name) : std::nullopt;
  }
  if (auto found = bound(evaluator, dict_methods(), object, object.as_dict(), name)) return found;
  if (Namespace* held = object.as_namespace()) return bound(evaluator, cycler_methods(), object, held, name);
  return bound(evaluator, loop_methods(), object, object.as_loop(), name);
}

}  // namespace graft::text::jinja
