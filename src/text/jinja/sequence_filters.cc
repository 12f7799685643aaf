#include <algorithm>
#include <charconv>
#include <utility>

#include "text/jinja/expression_parser.h"
#include "text/jinja/failure.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"
#include "text/jinja/text_operations.h"

namespace graft::text::jinja {
namespace {

Value length_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  if (const List* list = input.as_list(); list != nullptr && !list->is_generator()) {
    return static_cast<int64_t>(list->items.size());
  }
  if (const Loop* loop = input.as_loop()) return static_cast<int64_t>(loop->state->items->items.size());
  if (const Dict* dict = input.as_dict()) return static_cast<int64_t>(dict->items.size());
  if (const MarkedText* text = input.as_text()) {
    evaluator.budget.step(text->size() / 256);
    return static_cast<int64_t>(character_count(text->bytes()));
  }
  if (input.is_undefined()) return int64_t{0};
  fail("object of type " + quoted(input.type_name()) + " has no len()");
}

Value default_filter(Evaluator& /*evaluator*/, const Value& input, CallArguments& arguments) {
  arguments.accept({"default_value", "boolean"});
  const Value* fallback = arguments.get(0, "default_value");
  const bool replaces = input.is_undefined() || (arguments.flag(1, "boolean", false) && !input.truthy());
  if (!replaces) return input;
  return fallback != nullptr ? *fallback : Value::text("");
}

Value first_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  // Of a generator the first item is taken, the others stay.
  if (const List* list = input.as_list(); list != nullptr && list->is_generator() && list->taken < list->items.size()) {
    return list->items[list->taken++];
  }
  const std::vector<Value> items = evaluator.items_of(input);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  if (input.as_list() != nullptr && input.as_list()->is_generator()) fail("'generator' object is not reversible");
  const std::vector<Value> items = evaluator.items_of(input);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value list_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  return Value::list(evaluator.items_of(input));
}

Value reverse_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  std::vector<Value> items = evaluator.items_of(input);
  std::reverse(items.begin(), items.end());
  if (input.as_text() != nullptr) return evaluator.text(join(evaluator, {}, items, true));
  // What cannot be reversed by itself becomes a list.
  const bool lists = input.is_undefined() || (input.as_list() != nullptr && input.as_list()->is_generator());
  return lists ? Value::list(std::move(items)) : Value::generator(std::move(items));
}

Value items_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({});
  if (input.is_undefined()) return Value::generator({});
  const Dict* dict = input.as_dict();
  if (dict == nullptr) fail("Can only get item pairs from a mapping.");
  evaluator.budget.step(dict->items.size());
  std::vector<Value> items;
  for (const auto& [key, value] : dict->items) items.push_back(Value::list({key, value}, true));
  return Value::generator(std::move(items));
}

// "a.b.0": attribute after attribute, whole numbers as places. `fallback`, where given, stands for what is missing.
Value attribute_path(Evaluator& evaluator, Value value, const Value& path, const Value* fallback = nullptr) {
  const auto step = [&](const Value& key) {
    Value found = evaluator.item(value, key);
    return found.is_undefined() && fallback != nullptr ? *fallback : found;
  };
  if (const auto place = path.integer()) return step(Value(*place));
  const MarkedText* text = path.as_text();
  if (text == nullptr) return value;
  const std::string dot = ".";
  for (const Value& part : split(evaluator, *text, &dot, -1)) {
    const std::string& name = part.as_text()->bytes();
    int64_t place = 0;
    const auto end = std::from_chars(name.data(), name.data() + name.size(), place);
    const bool is_place = end.ec == std::errc() && end.ptr == name.data() + name.size() && name[0] != '-';
    value = step(is_place ? Value(place) : part);
  }
  return value;
}

Value join_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"d", "attribute"});
  const Value* separator = arguments.get(0, "d");
  std::vector<Value> items = evaluator.items_of(input);
  if (const Value* attribute = arguments.get(1, "attribute"); attribute != nullptr && !attribute->is_none()) {
    for (Value& item : items) item = attribute_path(evaluator, item, *attribute);
  }
  return evaluator.text(join(evaluator, separator != nullptr ? to_text(*separator) : MarkedText(), items, false));
}

// The arguments behind the first `skipped` ones.
CallArguments rest_of(const CallArguments& arguments, size_t skipped, std::string callee) {
  CallArguments rest;
  rest.callee = std::move(callee);
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(skipped),
                         arguments.positional.end());
  rest.keywords = arguments.keywords;
  return rest;
}

std::string name_argument(const CallArguments& arguments, size_t place) {
  const MarkedText* text = place < arguments.positional.size() ? arguments.positional[place].as_text() : nullptr;
  if (text == nullptr) fail(arguments.callee + "(): expected the name of a test or filter");
  return text->bytes();
}

// select, reject, selectattr, rejectattr: a test on every item or on one of its attributes; truth without a test.
template <bool keep, bool by_attribute>
Value select_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  constexpr size_t skipped = by_attribute ? 1 : 0;
  if (arguments.positional.size() < skipped) fail(arguments.callee + "(): expected the name of an attribute");
  const bool has_test = arguments.positional.size() > skipped;
  const std::string test = has_test ? name_argument(arguments, skipped) : "";
  if (has_test && !is_known_test(test)) fail("test " + quoted(test) + " is not supported");
  std::vector<Value> kept;
  if (!input.truthy()) return Value::generator({});  // none, too, has no items here
  for (const Value& item : evaluator.items_of(input)) {
    const Value subject = by_attribute ? attribute_path(evaluator, item, arguments.positional[0]) : item;
    bool holds = subject.truthy();
    if (has_test) {
      CallArguments rest = rest_of(arguments, skipped + 1, test);
      holds = apply_test(evaluator, test, subject, rest);
    }
    if (holds == keep) kept.push_back(item);
  }
  return Value::generator(std::move(kept));
}

Value map_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  std::vector<Value> mapped;
  if (!input.truthy()) return Value::generator({});
  if (arguments.positional.empty()) {
    arguments.accept({"attribute", "default"});
    const Value& attribute = arguments.required(0, "attribute");
    const Value* fallback = arguments.get(1, "default");
    if (fallback != nullptr && fallback->is_none()) fallback = nullptr;
    for (const Value& item : evaluator.items_of(input)) {
      mapped.push_back(attribute_path(evaluator, item, attribute, fallback));
    }
    return Value::generator(std::move(mapped));
  }
  const std::string filter = name_argument(arguments, 0);
  for (const Value& item : evaluator.items_of(input)) {
    CallArguments rest = rest_of(arguments, 1, filter);
    mapped.push_back(apply_filter(evaluator, filter, item, rest));
  }
  return Value::generator(std::move(mapped));
}

// What an item is ordered or compared by: case does not count unless asked for.
Value sort_key(Evaluator& evaluator, const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = attribute != nullptr && !attribute->is_none() ? attribute_path(evaluator, item, *attribute) : item;
  if (const MarkedText* text = key.as_text(); text != nullptr && !case_sensitive) key = evaluator.text(lower(*text));
  return key;
}

std::vector<Value> sorted(Evaluator& evaluator, std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    evaluator.budget.step();
    return reverse ? compare(b.first, a.first) < 0 : compare(a.first, b.first) < 0;
  });
  std::vector<Value> items;
  for (auto& [key, item] : keyed) items.push_back(std::move(item));
  return items;
}

// "a,b.c": several attributes, compared one after the other.
Value sort_keys(Evaluator& evaluator, const Value& item, const Value* attribute, bool case_sensitive) {
  const MarkedText* names = attribute != nullptr ? attribute->as_text() : nullptr;
  if (names == nullptr) return sort_key(evaluator, item, attribute, case_sensitive);
  const std::string comma = ",";
  std::vector<Value> keys;
  for (const Value& name : split(evaluator, *names, &comma, -1)) {
    keys.push_back(sort_key(evaluator, item, &name, case_sensitive));
  }
  return Value::list(std::move(keys));
}

Value sort_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = arguments.flag(1, "case_sensitive", false);
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : evaluator.items_of(input)) {
    Value key = sort_keys(evaluator, item, arguments.get(2, "attribute"), case_sensitive);
    keyed.emplace_back(std::move(key), std::move(item));
  }
  return Value::list(sorted(evaluator, std::move(keyed), arguments.flag(0, "reverse", false)));
}

Value dictsort_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"case_sensitive", "by", "reverse"});
  const Dict* dict = input.as_dict();
  if (dict == nullptr) fail("dictsort: expected a mapping, found " + quoted(input.type_name()));
  const Value* by = arguments.get(1, "by");
  const std::string what = by != nullptr ? to_text(*by).bytes() : "key";
  if (what != "key" && what != "value") fail("You can only sort by either \"key\" or \"value\"");
  const bool case_sensitive = arguments.flag(0, "case_sensitive", false);
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : dict->items) {
    keyed.emplace_back(sort_key(evaluator, what == "key" ? key : value, nullptr, case_sensitive),
                       Value::list({key, value}, true));
  }
  return Value::list(sorted(evaluator, std::move(keyed), arguments.flag(2, "reverse", false)));
}

Value unique_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"case_sensitive", "attribute"});
  std::vector<Value> keys;
  std::vector<Value> kept;
  for (Value& item : evaluator.items_of(input)) {
    Value key = sort_key(evaluator, item, arguments.get(1, "attribute"), arguments.flag(0, "case_sensitive", false));
    evaluator.budget.step(keys.size());
    if (std::any_of(keys.begin(), keys.end(), [&](const Value& known) { return equal(known, key); })) continue;
    check_hashable(key);
    keys.push_back(std::move(key));
    kept.push_back(std::move(item));
  }
  return Value::generator(std::move(kept));
}

template <bool largest>
Value extreme_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"case_sensitive", "attribute"});
  std::optional<Value> best;
  std::optional<Value> best_key;
  for (Value& item : evaluator.items_of(input)) {
    Value key = sort_key(evaluator, item, arguments.get(1, "attribute"), arguments.flag(0, "case_sensitive", false));
    if (best.has_value() && (largest ? compare(key, *best_key) <= 0 : compare(key, *best_key) >= 0)) continue;
    best = std::move(item);
    best_key = std::move(key);
  }
  return best.has_value() ? *best : Value::undefined("No aggregated item, sequence was empty.");
}

Value sum_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"attribute", "start"});
  const Value* attribute = arguments.get(0, "attribute");
  const Value* start = arguments.get(1, "start");
  Value total = start != nullptr ? *start : Value(int64_t{0});
  for (const Value& item : evaluator.items_of(input)) {
    const Value part =
        attribute != nullptr && !attribute->is_none() ? attribute_path(evaluator, item, *attribute) : item;
    total = binary_operation(evaluator, "+", total, part);
  }
  return total;
}

// Items with equal keys, in the order of the keys.
Value groupby_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"attribute", "default", "case_sensitive"});
  const Value& attribute = arguments.required(0, "attribute");
  const Value* fallback = arguments.get(1, "default");
  if (fallback != nullptr && fallback->is_none()) fallback = nullptr;
  const bool case_sensitive = arguments.flag(2, "case_sensitive", false);
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : evaluator.items_of(input)) {
    Value found = attribute_path(evaluator, item, attribute, fallback);
    Value key = sort_key(evaluator, found, nullptr, case_sensitive);
    keyed.emplace_back(std::move(key), Value::list({std::move(found), std::move(item)}, true));
  }
  std::vector<Value> groups;
  std::vector<Value> members;
  std::optional<Value> name;
  std::optional<Value> last_key;
  const auto close = [&] {
    if (!name.has_value()) return;
    auto group = std::make_shared<List>(*Value::list({*name, Value::list(std::exchange(members, {}))}, true).as_list());
    group->is_group = true;
    groups.emplace_back(std::shared_ptr<const List>(std::move(group)));
  };
  for (const Value& pair : sorted(evaluator, keyed, false)) {
    const List& both = *pair.as_list();
    const Value key = sort_key(evaluator, both.items[0], nullptr, case_sensitive);
    if (!last_key.has_value() || !equal(*last_key, key)) {
      close();
      name = both.items[0];
      last_key = key;
    }
    members.push_back(both.items[1]);
  }
  close();
  return Value::list(std::move(groups));
}

Value batch_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"linecount", "fill_with"});
  static_cast<void>(arguments.required(0, "linecount"));
  const int64_t size = arguments.integer(0, "linecount", 0);
  const Value* fill = arguments.get(1, "fill_with");
  if (size > kLongestRange) fail("batch(): linecount is larger than " + std::to_string(kLongestRange));
  std::vector<Value> batches;
  std::vector<Value> batch;
  for (Value& item : evaluator.items_of(input)) {
    if (static_cast<int64_t>(batch.size()) == size) batches.push_back(Value::list(std::exchange(batch, {})));
    batch.push_back(std::move(item));
  }
  if (!batch.empty()) {
    if (fill != nullptr && !fill->is_none()) {
      while (static_cast<int64_t>(batch.size()) < size) batch.push_back(*fill);
    }
    batches.push_back(Value::list(std::move(batch)));
  }
  return Value::generator(std::move(batches));
}

Value slice_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"slices", "fill_with"});
  static_cast<void>(arguments.required(0, "slices"));
  const int64_t count = arguments.integer(0, "slices", 0);
  if (count == 0) fail("integer division or modulo by zero");
  if (count > kLongestRange) fail("slice(): more than " + std::to_string(kLongestRange) + " slices");
  const Value* fill = arguments.get(1, "fill_with");
  const std::vector<Value> items = evaluator.items_of(input);
  std::vector<Value> slices;
  auto next = items.begin();
  for (int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<int64_t>(items.size());
    const bool longer = i < length % count;
    const auto end = next + (length / count + (longer ? 1 : 0));
    std::vector<Value> part(next, end);
    if (fill != nullptr && !fill->is_none() && !longer) part.push_back(*fill);
    slices.push_back(Value::list(std::move(part)));
    next = end;
  }
  return Value::generator(std::move(slices));
}

// object.name, but no item of a mapping.
Value attr_filter(Evaluator& evaluator, const Value& input, CallArguments& arguments) {
  arguments.accept({"name"});
  const Value& name = arguments.required(0, "name");
  if (name.as_text() == nullptr) fail("attr(): attribute name must be string");
  if (input.as_dict() == nullptr) return evaluator.attribute(input, name.as_text()->bytes());
  if (auto found = method(evaluator, input, name.as_text()->bytes())) return *std::move(found);
  return Value::undefined(described(input) + " has no attribute " + quoted(name.as_text()->bytes()));
}

Value random_filter(Evaluator& /*evaluator*/, const Value& /*input*/, CallArguments& /*arguments*/) {
  fail("filter 'random' is refused: the same chat must always render to the same text");
}

}  // namespace

const FilterTable& sequence_filters() {
  static const FilterTable table = {
      {"length", length_filter},
      {"count", length_filter},
      {"default", default_filter},
      {"d", default_filter},
      {"first", first_filter},
      {"last", last_filter},
      {"list", list_filter},
      {"reverse", reverse_filter},
      {"items", items_filter},
      {"join", join_filter},
      {"select", select_filter<true, false>},
      {"reject", select_filter<false, false>},
      {"selectattr", select_filter<true, true>},
      {"rejectattr", select_filter<false, true>},
      {"map", map_filter},
      {"sort", sort_filter},
      {"dictsort", dictsort_filter},
      {"unique", unique_filter},
      {"min", extreme_filter<false>},
      {"max", extreme_filter<true>},
      {"sum", sum_filter},
      {"groupby", groupby_filter},
      {"batch", batch_filter},
      {"slice", slice_filter},
      {"attr", attr_filter},
      {"random", random_filter},
  };
  return table;
}

}  // namespace graft::text::jinja
