#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/marked_text.h"

namespace graft::text::jinja {

class Value;
struct CallArguments;

// What a missing name or attribute evaluates to: prints as nothing, and fails in most other uses, with this message.
struct Undefined {
  std::shared_ptr<const std::string> message;
};
struct None {};

// range(start, stop, step)
struct RangeBounds {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
  // Those of a slice.
  [[nodiscard]] RangeBounds within(int64_t from, int64_t to, int64_t by) const {
    // Of no consequence beyond 64 bits: an empty range.
    const auto times = [](int64_t a, int64_t b) { return static_cast<uint64_t>(a) * static_cast<uint64_t>(b); };
    const auto place = [&](int64_t i) { return static_cast<int64_t>(static_cast<uint64_t>(start) + times(i, step)); };
    return {place(from), place(to), static_cast<int64_t>(times(step, by))};
  }
};

// Lists and what is like them. Those with a `view` print, compare and index as Python's type of that name does, or not
// at all: "dict_items", "range" and so on.
struct List {
  std::vector<Value> items;
  bool is_tuple = false;
  const char* view = nullptr;
  bool is_group = false;  // a tuple of groupby, which has names for its items
  RangeBounds bounds;     // of a range
  int depth = 1;          // 1 + that of its deepest item: bounded, since lists are printed and freed recursively
  uint64_t weight = 1;    // items at all depths, shared ones anew each time: bounded, since they are compared so
  // How many items are gone: a generator gives each of them once. Part of no constant, so used by one thread only.
  mutable size_t taken = 0;

  [[nodiscard]] bool is_generator() const { return view != nullptr && view == kGenerator; }
  [[nodiscard]] bool is_range() const { return view != nullptr && view == kRange; }
  [[nodiscard]] bool is_indexable() const { return view == nullptr || is_range(); }
  static constexpr const char* kGenerator = "generator";
  static constexpr const char* kRange = "range";
};

// Keeps the order of insertion, as Python's dict.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;
  uint64_t weight = 1;
  [[nodiscard]] const Value* find(const Value& key) const;
  [[nodiscard]] const Value* find(std::string_view key) const;
};

// namespace(...), and cycler(...), which is one with a place among its items: what a template can change.
struct Namespace {
  std::vector<std::pair<std::string, Value>> variables;
  std::vector<Value> cycle;
  size_t place = 0;
  [[nodiscard]] bool is_cycler() const { return !cycle.empty(); }
};

// What the iterations of one loop share.
struct LoopState {
  std::shared_ptr<const List> items;
  int depth = 1;               // of loop(...) in loop(...)
  std::vector<Value> recurse;  // one callable, where the loop is recursive
  std::vector<Value> changed;  // what loop.changed was given last, as one tuple
};

// The variable `loop`.
struct Loop {
  std::shared_ptr<LoopState> state;
  size_t index0 = 0;
};

struct Callable {
  std::string name;
  std::function<Value(CallArguments& arguments)> call;
  std::vector<std::pair<std::string, Value>> attributes;  // of macros
};

// A value of the template language, with the meaning of the Python type that it stands for.
class Value {
 public:
  using Text = std::shared_ptr<const MarkedText>;
  Value() : data_(None{}) {}
  Value(None) : data_(None{}) {}                               // NOLINT(google-explicit-constructor)
  Value(Undefined undefined) : data_(std::move(undefined)) {}  // NOLINT(google-explicit-constructor)
  Value(bool v) : data_(v) {}                                  // NOLINT(google-explicit-constructor)
  Value(int64_t v) : data_(v) {}                               // NOLINT(google-explicit-constructor)
  Value(double v) : data_(v) {}                                // NOLINT(google-explicit-constructor)
  Value(MarkedText text) : data_(std::make_shared<const MarkedText>(std::move(text))) {}  // NOLINT
  Value(Text text) : data_(std::move(text)) {}                       // NOLINT(google-explicit-constructor)
  Value(std::shared_ptr<const List> v) : data_(std::move(v)) {}      // NOLINT(google-explicit-constructor)
  Value(std::shared_ptr<const Dict> v) : data_(std::move(v)) {}      // NOLINT(google-explicit-constructor)
  Value(std::shared_ptr<Namespace> v) : data_(std::move(v)) {}       // NOLINT(google-explicit-constructor)
  Value(std::shared_ptr<const Loop> v) : data_(std::move(v)) {}      // NOLINT(google-explicit-constructor)
  Value(std::shared_ptr<const Callable> v) : data_(std::move(v)) {}  // NOLINT(google-explicit-constructor)
  Value(const void*) = delete;

  // Template text: not marked.
  static Value text(std::string_view literal) { return MarkedText(std::string(literal)); }
  static Value undefined(std::string message) {
    return Undefined{std::make_shared<const std::string>(std::move(message))};
  }
  // Both fail where nested too deep or too long.
  static Value list(std::vector<Value> items, bool is_tuple = false, const char* view = nullptr);
  static Value generator(std::vector<Value> items) { return list(std::move(items), false, List::kGenerator); }
  static Value dict(std::vector<std::pair<Value, Value>> items);

  [[nodiscard]] bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  [[nodiscard]] bool is_none() const { return std::holds_alternative<None>(data_); }
  [[nodiscard]] const bool* as_bool() const { return std::get_if<bool>(&data_); }
  [[nodiscard]] const int64_t* as_integer() const { return std::get_if<int64_t>(&data_); }  // not for booleans
  [[nodiscard]] const double* as_float() const { return std::get_if<double>(&data_); }
  [[nodiscard]] const MarkedText* as_text() const { return pointee<Text>(); }
  [[nodiscard]] const List* as_list() const { return pointee<std::shared_ptr<const List>>(); }  // or tuple
  [[nodiscard]] const Dict* as_dict() const { return pointee<std::shared_ptr<const Dict>>(); }
  [[nodiscard]] Namespace* as_namespace() const {
    const auto* found = std::get_if<std::shared_ptr<Namespace>>(&data_);
    return found != nullptr ? found->get() : nullptr;
  }
  [[nodiscard]] const Loop* as_loop() const { return pointee<std::shared_ptr<const Loop>>(); }
  [[nodiscard]] const Callable* as_callable() const { return pointee<std::shared_ptr<const Callable>>(); }
  [[nodiscard]] std::shared_ptr<const List> shared_list() const;
  [[nodiscard]] const Undefined* as_undefined() const { return std::get_if<Undefined>(&data_); }

  // True, False and whole numbers are integers in Python's arithmetic.
  [[nodiscard]] std::optional<int64_t> integer() const;
  [[nodiscard]] std::optional<double> number() const;

  [[nodiscard]] bool truthy() const;
  [[nodiscard]] const char* type_name() const;  // Python's: "str", "dict", ...
  [[nodiscard]] int depth() const;
  [[nodiscard]] uint64_t weight() const;  // what comparing or printing it costs, in steps
  // The object behind containers and callables, nullptr for plain values: identity.
  [[nodiscard]] const void* address() const;

 private:
  template <class Pointer>
  [[nodiscard]] auto pointee() const -> decltype(std::declval<const Pointer&>().get()) {
    const auto* found = std::get_if<Pointer>(&data_);
    return found != nullptr ? found->get() : nullptr;
  }
  std::variant<None, Undefined, bool, int64_t, double, Text, std::shared_ptr<const List>, std::shared_ptr<const Dict>,
               std::shared_ptr<Namespace>, std::shared_ptr<const Loop>, std::shared_ptr<const Callable>>
      data_;
};

Value range_of(std::vector<Value> items, const RangeBounds& bounds);

bool equal(const Value& a, const Value& b);   // Python's ==; marks do not count
int compare(const Value& a, const Value& b);  // < 0, 0, > 0; fails where Python has no order

// Python's str() and repr().
MarkedText to_text(const Value& value);
MarkedText to_repr(const Value& value);
std::string float_repr(double value);

// How messages about missing attributes name a value: "'dict object'", "'None'".
std::string described(const Value& value);
// `name` in Python's quotes.
std::string quoted(std::string_view name);

}  // namespace graft::text::jinja
