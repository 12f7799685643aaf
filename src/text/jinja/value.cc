#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/failure.h"
#include "text/jinja/limits.h"

namespace graft::text::jinja {
namespace {

[[noreturn]] void fail_undefined(const Undefined& undefined) { fail(*undefined.message); }

int deeper(int depth, const Value& value) { return std::max(depth, 1 + value.depth()); }

void check_size(size_t size, int depth, uint64_t weight) {
  if (weight > kHeaviestValue) fail("a list of more than " + std::to_string(kHeaviestValue) + " items of lists");
  if (size > kLongestList) fail("a list of more than " + std::to_string(kLongestList) + " items");
  if (depth > kDeepestValue) fail("lists nested deeper than " + std::to_string(kDeepestValue) + " levels");
}

bool equal_lists(const List& a, const List& b) {
  if (a.view != b.view) return false;
  if (a.is_generator()) return &a == &b;
  return a.is_tuple == b.is_tuple && a.items.size() == b.items.size() &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), equal);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const Value* other = b.find(item.first);
    return other != nullptr && equal(item.second, *other);
  });
}

}  // namespace

const Value* Dict::find(const Value& key) const {
  const auto found = std::find_if(items.begin(), items.end(), [&](const auto& item) { return equal(item.first, key); });
  return found == items.end() ? nullptr : &found->second;
}

const Value* Dict::find(std::string_view key) const {
  const auto found = std::find_if(items.begin(), items.end(), [&](const auto& item) {
    const MarkedText* text = item.first.as_text();
    return text != nullptr && text->bytes() == key;
  });
  return found == items.end() ? nullptr : &found->second;
}

Value Value::list(std::vector<Value> items, bool is_tuple, const char* view) {
  auto list = std::make_shared<List>();
  for (const Value& item : items) {
    list->depth = deeper(list->depth, item);
    list->weight += item.weight();
  }
  check_size(items.size(), list->depth, list->weight);
  list->items = std::move(items);
  list->is_tuple = is_tuple;
  list->view = view;
  return std::shared_ptr<const List>(std::move(list));
}

Value range_of(std::vector<Value> items, const RangeBounds& bounds) {
  auto range = std::make_shared<List>(*Value::list(std::move(items), false, List::kRange).as_list());
  range->bounds = bounds;
  return std::shared_ptr<const List>(std::move(range));
}

Value Value::dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_shared<Dict>();
  for (const auto& [key, value] : items) {
    dict->depth = deeper(dict->depth, value);
    dict->weight += key.weight() + value.weight();
  }
  check_size(items.size(), dict->depth, dict->weight);
  dict->items = std::move(items);
  return std::shared_ptr<const Dict>(std::move(dict));
}

std::shared_ptr<const List> Value::shared_list() const {
  const auto* found = std::get_if<std::shared_ptr<const List>>(&data_);
  return found != nullptr ? *found : nullptr;
}

int Value::depth() const {
  if (const List* list = as_list()) return list->depth;
  if (const Dict* dict = as_dict()) return dict->depth;
  if (const Loop* loop = as_loop()) return 1 + loop->state->items->depth;
  return 0;
}

uint64_t Value::weight() const {
  if (const List* list = as_list()) return list->weight;
  if (const Dict* dict = as_dict()) return dict->weight;
  if (const MarkedText* text = as_text()) return 1 + text->size() / 1024;
  return 1;
}

const void* Value::address() const {
  return std::visit(
      [](const auto& held) -> const void* {
        if constexpr (requires { held.get(); }) {
          return held.get();
        } else {
          return nullptr;
        }
      },
      data_);
}

std::optional<int64_t> Value::integer() const {
  if (const bool* v = as_bool()) return *v ? 1 : 0;
  if (const int64_t* v = as_integer()) return *v;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* v = as_float()) return *v;
  if (const auto v = integer()) return static_cast<double>(*v);
  return std::nullopt;
}

bool Value::truthy() const {
  if (is_none() || is_undefined()) return false;
  if (const auto v = number()) return *v != 0.0;
  if (const MarkedText* v = as_text()) return !v->empty();
  if (const List* v = as_list()) return v->is_generator() || !v->items.empty();
  if (const Dict* v = as_dict()) return !v->items.empty();
  return true;
}

const char* Value::type_name() const {
  if (is_none()) return "NoneType";
  if (is_undefined()) return "Undefined";
  if (as_bool() != nullptr) return "bool";
  if (as_integer() != nullptr) return "int";
  if (as_float() != nullptr) return "float";
  if (as_text() != nullptr) return "str";
  if (const List* list = as_list()) return list->view != nullptr ? list->view : list->is_tuple ? "tuple" : "list";
  if (as_dict() != nullptr) return "dict";
  if (const Namespace* v = as_namespace()) return v->is_cycler() ? "Cycler" : "Namespace";
  if (as_loop() != nullptr) return "LoopContext";
  return "function";
}

bool equal(const Value& a, const Value& b) {
  if (const auto x = a.integer(), y = b.integer(); x.has_value() && y.has_value()) return *x == *y;
  if (const auto x = a.number(), y = b.number(); x.has_value() && y.has_value()) return *x == *y;
  if (a.as_text() != nullptr && b.as_text() != nullptr) return a.as_text()->bytes() == b.as_text()->bytes();
  if (a.as_list() != nullptr && b.as_list() != nullptr) return equal_lists(*a.as_list(), *b.as_list());
  if (a.as_dict() != nullptr && b.as_dict() != nullptr) return equal_dicts(*a.as_dict(), *b.as_dict());
  if (a.is_none() && b.is_none()) return true;
  if (a.is_undefined() && b.is_undefined()) return true;
  return a.address() != nullptr && a.address() == b.address();
}

int compare(const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (const Undefined* undefined = value->as_undefined()) fail_undefined(*undefined);
  }
  if (const auto x = a.integer(), y = b.integer(); x.has_value() && y.has_value()) return *x < *y ? -1 : *x > *y;
  if (const auto x = a.number(), y = b.number(); x.has_value() && y.has_value()) return *x < *y ? -1 : *x > *y;
  // The order of UTF-8 bytes is that of code points.
  if (a.as_text() != nullptr && b.as_text() != nullptr) return a.as_text()->bytes().compare(b.as_text()->bytes());
  const List* x = a.as_list();
  const List* y = b.as_list();
  if (x == nullptr || y == nullptr || x->is_tuple != y->is_tuple || x->view != nullptr || y->view != nullptr) {
    fail("values of types '" + std::string(a.type_name()) + "' and '" + b.type_name() + "' have no order");
  }
  for (size_t i = 0; i < std::min(x->items.size(), y->items.size()); ++i) {
    if (!equal(x->items[i], y->items[i])) return compare(x->items[i], y->items[i]);
  }
  return x->items.size() < y->items.size() ? -1 : x->items.size() > y->items.size();
}

std::string described(const Value& value) {
  if (value.is_none()) return "'None'";
  return "'" + std::string(value.type_name()) + " object'";
}

}  // namespace graft::text::jinja
