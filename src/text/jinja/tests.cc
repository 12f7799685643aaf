#include <map>

#include "text/jinja/evaluator.h"
#include "text/jinja/expression_parser.h"
#include "text/jinja/failure.h"
#include "text/jinja/python_text.h"

namespace graft::text::jinja {
namespace {

using Test = bool (*)(Evaluator&, const Value&, CallArguments&);

int64_t whole(const Value& value) {
  if (!value.integer().has_value()) fail("expected an integer, found " + quoted(value.type_name()));
  return *value.integer();
}

const Value& other(CallArguments& arguments) {
  arguments.accept({"other"});
  return arguments.required(0, "other");
}

// iter() works on it.
bool is_iterable(const Value& value) {
  return value.as_text() != nullptr || value.as_list() != nullptr || value.as_dict() != nullptr ||
         value.is_undefined() || value.as_loop() != nullptr;
}

// len() and item access work on it.
bool is_sequence(const Value& value) {
  if (const List* list = value.as_list()) return list->view == nullptr;
  return value.as_text() != nullptr || value.as_dict() != nullptr || value.is_undefined();
}

bool same_as(const Value& a, const Value& b) {
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.as_bool() != nullptr && b.as_bool() != nullptr) return *a.as_bool() == *b.as_bool();
  if (a.as_text() != nullptr || b.as_text() != nullptr || a.number().has_value() || b.number().has_value()) {
    fail("'sameas' is supported for none, booleans, lists and mappings only");
  }
  return a.address() != nullptr && a.address() == b.address();
}

bool all_cased(const Value& value, MarkedText (*convert)(const MarkedText&),
               MarkedText (*opposite)(const MarkedText&)) {
  const MarkedText text = to_text(value);
  return convert(text).bytes() == text.bytes() && opposite(text).bytes() != text.bytes();
}

const std::map<std::string_view, Test>& table() {
  using E = Evaluator;
  using V = const Value;
  using A = CallArguments;
  static const std::map<std::string_view, Test> tests = {
      {"defined", [](E&, V& v, A&) { return !v.is_undefined(); }},
      {"undefined", [](E&, V& v, A&) { return v.is_undefined(); }},
      {"none", [](E&, V& v, A&) { return v.is_none(); }},
      {"boolean", [](E&, V& v, A&) { return v.as_bool() != nullptr; }},
      {"true", [](E&, V& v, A&) { return v.as_bool() != nullptr && *v.as_bool(); }},
      {"false", [](E&, V& v, A&) { return v.as_bool() != nullptr && !*v.as_bool(); }},
      {"integer", [](E&, V& v, A&) { return v.as_integer() != nullptr; }},
      {"float", [](E&, V& v, A&) { return v.as_float() != nullptr; }},
      {"number", [](E&, V& v, A&) { return v.number().has_value(); }},
      {"string", [](E&, V& v, A&) { return v.as_text() != nullptr; }},
      {"mapping", [](E&, V& v, A&) { return v.as_dict() != nullptr; }},
      {"iterable", [](E&, V& v, A&) { return is_iterable(v); }},
      {"sequence", [](E&, V& v, A&) { return is_sequence(v); }},
      {"callable", [](E&, V& v, A&) { return v.as_callable() != nullptr; }},
      {"sameas", [](E&, V& v, A& a) { return same_as(v, other(a)); }},
      {"eq", [](E&, V& v, A& a) { return equal(v, other(a)); }},
      {"equalto", [](E&, V& v, A& a) { return equal(v, other(a)); }},
      {"ne", [](E&, V& v, A& a) { return !equal(v, other(a)); }},
      {"lt", [](E&, V& v, A& a) { return compare(v, other(a)) < 0; }},
      {"lessthan", [](E&, V& v, A& a) { return compare(v, other(a)) < 0; }},
      {"le", [](E&, V& v, A& a) { return compare(v, other(a)) <= 0; }},
      {"gt", [](E&, V& v, A& a) { return compare(v, other(a)) > 0; }},
      {"greaterthan", [](E&, V& v, A& a) { return compare(v, other(a)) > 0; }},
      {"ge", [](E&, V& v, A& a) { return compare(v, other(a)) >= 0; }},
      {"in", [](E& e, V& v, A& a) { return contains(e, other(a), v); }},
      {"odd", [](E&, V& v, A&) { return whole(v) % 2 != 0; }},
      {"even", [](E&, V& v, A&) { return whole(v) % 2 == 0; }},
      {"divisibleby",
       [](E&, V& v, A& a) {
         const int64_t divisor = whole(other(a));
         if (divisor == 0) fail("integer division or modulo by zero");
         return divisor == -1 || whole(v) % divisor == 0;
       }},
      {"upper", [](E&, V& v, A&) { return all_cased(v, upper, lower); }},
      {"lower", [](E&, V& v, A&) { return all_cased(v, lower, upper); }},
  };
  return tests;
}

}  // namespace

bool is_known_test(std::string_view name) { return table().contains(name); }

bool apply_test(Evaluator& evaluator, std::string_view name, const Value& input, CallArguments& arguments) {
  const auto found = table().find(name);
  if (found == table().end()) fail("test " + quoted(name) + " is not supported");
  return found->second(evaluator, input, arguments);
}

}  // namespace graft::text::jinja
