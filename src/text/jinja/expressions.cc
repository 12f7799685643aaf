#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/failure.h"
#include "text/jinja/python_text.h"

namespace graft::text::jinja {
namespace {

[[noreturn]] void fail_undefined(const Value& value) { fail(*value.as_undefined()->message); }

// Python's slice.indices(): where to start, where to stop, in characters or items.
struct Range {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

int64_t clamped(int64_t index, int64_t length, int64_t low, int64_t high) {
  if (index < 0) index += length;
  return std::clamp(index, low, high);
}

Range slice_range(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step, int64_t length) {
  if (step == 0) fail("slice step cannot be zero");
  if (step > 0) {
    return {clamped(start.value_or(0), length, 0, length), clamped(stop.value_or(length), length, 0, length), step};
  }
  Range range{.start = length - 1, .stop = -1, .step = step};
  if (start.has_value()) range.start = clamped(*start, length, -1, length - 1);
  if (stop.has_value()) range.stop = clamped(*stop, length, -1, length - 1);
  return range;
}

template <class Visit>
void for_each(const Range& range, Visit visit) {
  for (int64_t i = range.start; range.step > 0 ? i < range.stop : i > range.stop;) {
    visit(static_cast<size_t>(i));
    // Beyond any length: stop before the sum overflows.
    if (range.step > (int64_t{1} << 40) || range.step < -(int64_t{1} << 40)) break;
    i += range.step;
  }
}

Value loop_attribute(const Loop& loop, std::string_view name) {
  const std::vector<Value>& items = loop.state->items->items;
  const auto length = static_cast<int64_t>(items.size());
  const auto index0 = static_cast<int64_t>(loop.index0);
  if (name == "index") return index0 + 1;
  if (name == "index0") return index0;
  if (name == "revindex") return length - index0;
  if (name == "revindex0") return length - index0 - 1;
  if (name == "first") return index0 == 0;
  if (name == "last") return index0 + 1 == length;
  if (name == "length") return length;
  if (name == "depth") return int64_t{loop.state->depth};
  if (name == "depth0") return int64_t{loop.state->depth} - 1;
  if (name == "previtem") {
    return index0 == 0 ? Value::undefined("there is no previous item") : items[loop.index0 - 1];
  }
  if (name == "nextitem") {
    return index0 + 1 == length ? Value::undefined("there is no next item") : items[loop.index0 + 1];
  }
  return Value::undefined("'loop' has no attribute " + quoted(name));
}

Value missing_attribute(const Value& object, std::string_view name) {
  return Value::undefined(described(object) + " has no attribute " + quoted(name));
}

Value missing_element(const Value& object, const std::string& key) {
  const std::string name = object.is_none() ? "None" : std::string(object.type_name()) + " object";
  return Value::undefined(name + " has no element " + key);
}

// **x of a call.
void add_keywords(const Value& mapping, CallArguments& arguments) {
  const Dict* dict = mapping.as_dict();
  if (dict == nullptr) fail(quoted(mapping.type_name()) + " object behind '**' must be a mapping");
  for (const auto& [key, value] : dict->items) {
    if (key.as_text() == nullptr) fail("keywords must be strings");
    const std::string& name = key.as_text()->bytes();
    for (const auto& [known, held] : arguments.keywords) {
      if (known == name) fail("got multiple values for keyword argument " + quoted(name));
    }
    arguments.keywords.emplace_back(name, value);
    arguments.spread_keys.push_back(key);
  }
}

Value cycler_attribute(Evaluator& evaluator, const Value& cycler, std::string_view name) {
  const Namespace& held = *cycler.as_namespace();
  if (name == "current") return held.cycle[held.place];
  if (name == "items") return Value::list(held.cycle, true);
  if (auto found = method(evaluator, cycler, name)) return *std::move(found);
  return missing_attribute(cycler, name);
}

}  // namespace

// Lists and mappings cannot be keys, nor can tuples that hold one.
void check_hashable(const Value& key) {
  const List* list = key.as_list();
  const bool changes = list != nullptr && !list->is_tuple && !list->is_range() && !list->is_generator();
  if (key.as_dict() != nullptr || changes) {
    fail("unhashable type: " + quoted(key.type_name()));
  }
  if (list == nullptr || !list->is_tuple) return;
  for (const Value& item : list->items) check_hashable(item);
}

Value Evaluator::evaluate(const Expression& expression, const ScopePtr& scope) {
  budget.step();
  struct Depth {
    int& depth;
    ~Depth() { --depth; }
  } const guard{++budget.depth};
  if (budget.depth > kDeepestEvaluation) {
    fail("macros and expressions nested deeper than " + std::to_string(kDeepestEvaluation) + " levels");
  }
  line_ = expression.line;
  const auto operand = [&](size_t i) { return evaluate(*expression.operands[i], scope); };
  switch (expression.kind) {
    case Expression::kConstant:
      return expression.value;
    case Expression::kName:
      return lookup(expression, scope);
    case Expression::kList:
    case Expression::kTuple:
    case Expression::kDict:
      return collection(expression, scope);
    case Expression::kAttribute:
      return attribute(operand(0), expression.name);
    case Expression::kSubscript: {
      const Value object = operand(0);
      return item(object, operand(1));
    }
    case Expression::kSlice:
      return slice(expression, scope);
    case Expression::kCall:
      return call_with(expression, scope, nullptr);
    case Expression::kFilter:
      return filter(expression, scope);
    case Expression::kTest:
      return test(expression, scope);
    case Expression::kUnary: {
      const Value value = operand(0);
      if (expression.name == "not") return !value.truthy();
      if (const double* number = value.as_float(); number != nullptr && expression.name == "-") return -*number;
      return binary_operation(*this, expression.name, Value(int64_t{0}), value);
    }
    case Expression::kBinary: {
      const Value left = operand(0);
      return binary_operation(*this, expression.name, left, operand(1));
    }
    case Expression::kConcat: {
      MarkedText joined;
      for (const auto& part : expression.operands) {
        joined.append(to_text(evaluate(*part, scope)));
        budget.made(joined.size());
      }
      return Value(std::move(joined));
    }
    case Expression::kComparison:
      return comparison(expression, scope);
    case Expression::kAnd: {
      Value left = operand(0);
      return left.truthy() ? operand(1) : left;
    }
    case Expression::kOr: {
      Value left = operand(0);
      return left.truthy() ? left : operand(1);
    }
    case Expression::kConditional:
      if (operand(0).truthy()) return operand(1);
      if (expression.operands[2] != nullptr) return operand(2);
      return Value::undefined("the inline if-expression evaluated to false and no else section was defined");
  }
  return {};
}

Value Evaluator::lookup(const Expression& name, const ScopePtr& scope) {
  if (const Value* found = scope->find(name.name)) return *found;
  return Value::undefined(quoted(name.name) + " is undefined");
}

Value Evaluator::collection(const Expression& expression, const ScopePtr& scope) {
  if (expression.kind != Expression::kDict) {
    std::vector<Value> items;
    for (const auto& item : expression.operands) items.push_back(evaluate(*item, scope));
    return Value::list(std::move(items), expression.kind == Expression::kTuple);
  }
  std::vector<std::pair<Value, Value>> items;
  for (size_t i = 0; i + 1 < expression.operands.size(); i += 2) {
    Value key = evaluate(*expression.operands[i], scope);
    check_hashable(key);
    budget.step(items.size() / 8);
    Value value = evaluate(*expression.operands[i + 1], scope);
    const auto known = std::find_if(items.begin(), items.end(), [&](const auto& it) { return equal(it.first, key); });
    if (known != items.end()) {
      known->second = std::move(value);
    } else {
      items.emplace_back(std::move(key), std::move(value));
    }
  }
  return Value::dict(std::move(items));
}

// object.name: an attribute first, then an item.
Value Evaluator::attribute(const Value& object, std::string_view name) {
  if (object.is_undefined()) fail_undefined(object);
  if (const Namespace* holder = object.as_namespace()) {
    if (holder->is_cycler()) return cycler_attribute(*this, object, name);
    for (const auto& [known, value] : holder->variables) {
      if (known == name) return value;
    }
    return missing_attribute(object, name);
  }
  if (auto found = method(*this, object, name)) return *std::move(found);
  if (const Loop* loop = object.as_loop()) return loop_attribute(*loop, name);
  if (const Callable* callable = object.as_callable()) {
    for (const auto& [known, value] : callable->attributes) {
      if (known == name) return value;
    }
  }
  if (const List* list = object.as_list(); list != nullptr && list->is_group) {
    if (name == "grouper") return list->items[0];
    if (name == "list") return list->items[1];
  }
  if (const Dict* dict = object.as_dict()) {
    budget.step(dict->items.size() / 8);
    if (const Value* found = dict->find(name)) return *found;
  }
  return missing_attribute(object, name);
}

// object[key]: an item first, then, for a name, an attribute.
Value Evaluator::item(const Value& object, const Value& key) {
  if (object.is_undefined()) fail_undefined(object);
  if (const Dict* dict = object.as_dict()) {
    budget.step(dict->items.size() / 8);
    if (const Value* found = dict->find(key)) return *found;
  }
  if (const auto index = key.integer()) {
    if (const List* list = object.as_list(); list != nullptr && list->is_indexable()) {
      const auto length = static_cast<int64_t>(list->items.size());
      const int64_t place = *index < 0 ? *index + length : *index;
      if (place >= 0 && place < length) return list->items[static_cast<size_t>(place)];
    } else if (const MarkedText* text = object.as_text()) {
      budget.step(text->size() / 256);
      const auto length = static_cast<int64_t>(character_count(text->bytes()));
      const int64_t place = *index < 0 ? *index + length : *index;
      if (place >= 0 && place < length) {
        const size_t begin = byte_offset(text->bytes(), static_cast<size_t>(place));
        return text->slice(begin, begin + byte_offset(std::string_view(text->bytes()).substr(begin), 1));
      }
    }
    return missing_element(object, std::to_string(*index));
  }
  if (const MarkedText* name = key.as_text()) {
    if (object.as_dict() == nullptr && object.as_text() == nullptr) return attribute(object, name->bytes());
    if (auto found = method(*this, object, name->bytes())) return *std::move(found);
    return missing_attribute(object, name->bytes());
  }
  return missing_element(object, to_repr(key).bytes());
}

Value Evaluator::slice(const Expression& expression, const ScopePtr& scope) {
  const Value object = evaluate(*expression.operands[0], scope);
  if (object.is_undefined()) fail_undefined(object);
  const auto bound = [&](size_t i) -> std::optional<int64_t> {
    if (expression.operands[i] == nullptr) return std::nullopt;
    const Value value = evaluate(*expression.operands[i], scope);
    if (value.is_none()) return std::nullopt;
    if (!value.integer().has_value()) fail("slice indices must be integers or None");
    // Far beyond any length, and far from overflowing.
    return std::clamp(*value.integer(), -(int64_t{1} << 60), int64_t{1} << 60);
  };
  const auto start = bound(1);
  const auto stop = bound(2);
  const int64_t step = bound(3).value_or(1);
  if (const List* list = object.as_list(); list != nullptr && list->is_indexable()) {
    std::vector<Value> items;
    const Range range = slice_range(start, stop, step, static_cast<int64_t>(list->items.size()));
    for_each(range, [&](size_t i) { items.push_back(list->items[i]); });
    budget.step(items.size());
    if (list->is_range()) return range_of(std::move(items), list->bounds.within(range.start, range.stop, range.step));
    return Value::list(std::move(items), list->is_tuple);
  }
  const MarkedText* source = object.as_text();
  if (source == nullptr) fail(quoted(object.type_name()) + " object is not subscriptable with a slice");
  std::vector<size_t> starts;  // of characters, and the end
  for (size_t i = 0; i <= source->size(); ++i) {
    if (i == source->size() || (static_cast<unsigned char>(source->bytes()[i]) & 0xC0) != 0x80) starts.push_back(i);
  }
  const Range range = slice_range(start, stop, step, static_cast<int64_t>(starts.size()) - 1);
  if (range.step == 1) {
    const auto begin = starts[static_cast<size_t>(range.start)];
    return text(source->slice(begin, std::max(begin, starts[static_cast<size_t>(range.stop)])));
  }
  MarkedText picked;
  for_each(range, [&](size_t i) {
    budget.step();
    picked.append_slice(*source, starts[i], starts[i + 1]);
  });
  return text(std::move(picked));
}

CallArguments Evaluator::arguments(const Expression& expression, const ScopePtr& scope) {
  CallArguments made;
  for (size_t i = 1; i < expression.operands.size(); ++i) {
    made.positional.push_back(evaluate(*expression.operands[i], scope));
  }
  for (const auto& [name, value] : expression.keywords) {
    for (const auto& [known, held] : made.keywords) {
      if (known == name) fail("keyword argument repeated: " + name);
    }
    made.keywords.emplace_back(name, evaluate(*value, scope));
  }
  if (expression.more_positional != nullptr) {
    for (Value& value : items_of(evaluate(*expression.more_positional, scope))) {
      made.positional.push_back(std::move(value));
    }
  }
  if (expression.more_keywords != nullptr) add_keywords(evaluate(*expression.more_keywords, scope), made);
  return made;
}

Value Evaluator::call_with(const Expression& expression, const ScopePtr& scope, const Value* caller) {
  const Value callee = evaluate(*expression.operands[0], scope);
  CallArguments made = arguments(expression, scope);
  if (caller != nullptr) made.keywords.emplace_back("caller", *caller);
  line_ = expression.line;
  return call(callee, made);
}

Value Evaluator::call(const Value& callee, CallArguments& given) {
  if (callee.is_undefined()) fail_undefined(callee);
  if (const Loop* loop = callee.as_loop()) {
    if (loop->state->recurse.empty()) {
      fail("the loop must have the 'recursive' marker to be called recursively");
    }
    const Value again = loop->state->recurse.front();
    return call(again, given);
  }
  const Callable* callable = callee.as_callable();
  if (callable == nullptr) fail(quoted(callee.type_name()) + " object is not callable");
  given.callee = callable->name;
  // A copy keeps the function alive while it runs.
  const auto function = callable->call;
  return function(given);
}

Value Evaluator::filter(const Expression& expression, const ScopePtr& scope) {
  const Value input = expression.operands[0] != nullptr ? evaluate(*expression.operands[0], scope) : *block_text_;
  CallArguments made = arguments(expression, scope);
  made.callee = expression.name;
  line_ = expression.line;
  return apply_filter(*this, expression.name, input, made);
}

bool Evaluator::test(const Expression& expression, const ScopePtr& scope) {
  const Value input = evaluate(*expression.operands[0], scope);
  CallArguments made = arguments(expression, scope);
  made.callee = expression.name;
  line_ = expression.line;
  return apply_test(*this, expression.name, input, made);
}

Value Evaluator::comparison(const Expression& expression, const ScopePtr& scope) {
  Value left = evaluate(*expression.operands[0], scope);
  for (size_t i = 0; i < expression.names.size(); ++i) {
    const Value right = evaluate(*expression.operands[i + 1], scope);
    const std::string& op = expression.names[i];
    bool holds = false;
    budget.step(std::min(left.weight(), right.weight()));
    if (op == "in" || op == "not in") {
      holds = contains(*this, right, left) == (op == "in");
    } else if (op == "==" || op == "!=") {
      holds = equal(left, right) == (op == "==");
    } else {
      const int order = compare(left, right);
      holds = op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
    }
    if (!holds) return false;
    left = right;
  }
  return true;
}

}  // namespace graft::text::jinja
