#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/evaluator.h"
#include "text/jinja/failure.h"
#include "text/jinja/format_text.h"
#include "text/jinja/text_operations.h"

namespace graft::text::jinja {
namespace {

[[noreturn]] void unsupported_operands(std::string_view op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (const Undefined* undefined = value->as_undefined()) fail(*undefined->message);
  }
  fail("unsupported operand types for " + std::string(op) + ": " + quoted(a.type_name()) + " and " +
       quoted(b.type_name()));
}

int64_t fitting(bool overflow, int64_t result) {
  if (overflow) fail("an integer beyond 64 bits");
  return result;
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (a == std::numeric_limits<int64_t>::min() && b == -1) return fitting(true, 0);
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  bool overflow = false;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (int64_t i = 0; i < exponent && !overflow; ++i) overflow = __builtin_mul_overflow(result, base, &result);
  return fitting(overflow, result);
}

std::optional<Value> integer_operation(std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "//") {
    result = floor_divide(a, b);
  } else if (op == "%") {
    result = b == -1 ? 0 : a - floor_divide(a, b) * b;
  } else if (op == "**" && b >= 0) {
    result = integer_power(a, b);
  } else {
    return std::nullopt;
  }
  return Value(fitting(overflow, result));
}

Value float_operation(std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0.0) fail("division by zero");
  if (op == "/") return a / b;
  if (op == "//") return std::floor(a / b);
  const double rest = std::fmod(a, b);
  if (rest == 0.0) return std::copysign(0.0, b);
  return (rest < 0.0) != (b < 0.0) ? rest + b : rest;
}

Value repeated(Evaluator& evaluator, const Value& value, int64_t times) {
  const auto count = static_cast<uint64_t>(std::max<int64_t>(times, 0));
  if (const MarkedText* text = value.as_text()) {
    if (!text->empty() && count > kLargestString / text->size()) evaluator.budget.made(kLargestString + 1);
    MarkedText result;
    for (uint64_t i = 0; i < count && !text->empty(); ++i) result.append(*text);
    return evaluator.text(std::move(result));
  }
  const List& list = *value.as_list();
  if (!list.items.empty() && count > kLongestList / list.items.size()) fail("a list that is too long");
  std::vector<Value> items;
  for (uint64_t i = 0; i < count && !list.items.empty(); ++i) {
    items.insert(items.end(), list.items.begin(), list.items.end());
  }
  evaluator.budget.step(items.size());
  return Value::list(std::move(items), list.is_tuple);
}

MarkedText joined(const MarkedText& a, const MarkedText& b) {
  const bool safe = a.safe() || b.safe();
  MarkedText result;
  result.append(safe && !a.safe() ? html_escaped(a) : a);
  result.append(safe && !b.safe() ? html_escaped(b) : b);
  if (safe) result.set_safe();
  return result;
}

bool is_plain_list(const Value& value) { return value.as_list() != nullptr && value.as_list()->view == nullptr; }

bool repeats(const Value& value) { return value.as_text() != nullptr || is_plain_list(value); }

}  // namespace

Value binary_operation(Evaluator& evaluator, std::string_view op, const Value& a, const Value& b) {
  if (op == "%" && a.as_text() != nullptr) return evaluator.text(percent_format(evaluator, *a.as_text(), b));
  const auto x = a.integer();
  const auto y = b.integer();
  if (x.has_value() && y.has_value()) {
    if (auto result = integer_operation(op, *x, *y)) return *std::move(result);
  }
  const auto u = a.number();
  const auto v = b.number();
  if (u.has_value() && v.has_value()) return float_operation(op, *u, *v);
  if (op == "+") {
    if (a.as_text() != nullptr && b.as_text() != nullptr) return evaluator.text(joined(*a.as_text(), *b.as_text()));
    const List* left = a.as_list();
    const List* right = b.as_list();
    if (is_plain_list(a) && is_plain_list(b) && left->is_tuple == right->is_tuple) {
      std::vector<Value> items = left->items;
      items.insert(items.end(), right->items.begin(), right->items.end());
      evaluator.budget.step(items.size());
      return Value::list(std::move(items), left->is_tuple);
    }
  }
  if (op == "*" && repeats(a) && y.has_value()) return repeated(evaluator, a, *y);
  if (op == "*" && repeats(b) && x.has_value()) return repeated(evaluator, b, *x);
  unsupported_operands(op, a, b);
}

bool contains(Evaluator& evaluator, const Value& container, const Value& item) {
  if (const MarkedText* text = container.as_text()) {
    const MarkedText* part = item.as_text();
    if (part == nullptr) {
      if (item.is_undefined()) fail(*item.as_undefined()->message);
      fail("'in <string>' requires string as left operand, not " + std::string(item.type_name()));
    }
    evaluator.budget.step(text->size() / 256);
    return text->bytes().find(part->bytes()) != std::string::npos;
  }
  if (const List* list = container.as_list()) {
    evaluator.budget.step(container.weight());
    if (list->view != nullptr && std::string_view(list->view) == "dict_keys") check_hashable(item);
    // A generator is used up as far as the item.
    const size_t first = list->is_generator() ? list->taken : 0;
    size_t i = first;
    while (i < list->items.size() && !equal(list->items[i], item)) ++i;
    if (list->is_generator()) list->taken = std::min(i + 1, list->items.size());
    return i < list->items.size();
  }
  if (const Dict* dict = container.as_dict()) {
    evaluator.budget.step(dict->items.size() / 8);
    check_hashable(item);
    return dict->find(item) != nullptr;
  }
  if (container.is_undefined()) return false;
  fail("argument of type " + quoted(container.type_name()) + " is not iterable");
}

}  // namespace graft::text::jinja
