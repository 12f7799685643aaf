#include <map>
#include <set>

#include "text/jinja/evaluator.h"
#include "text/jinja/expression_parser.h"
#include "text/jinja/failure.h"
#include "text/jinja/text_predicates.h"

namespace graft::text::jinja {
namespace {

using Test = bool (*)(Evaluator&, const Value&, CallArguments&);

Value remainder(Evaluator& evaluator, const Value& value, const Value& divisor) {
  return binary_operation(evaluator, "%", value, divisor);
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
  if (const List* list = value.as_list()) return list->is_indexable();
  return value.as_text() != nullptr || value.as_dict() != nullptr || value.is_undefined();
}

// Python's `is`: of plain values only what does not depend on the interpreter.
bool same_as(const Value& a, const Value& b) {
  if (std::string_view(a.type_name()) != b.type_name()) return false;
  if (a.is_none()) return true;
  if (a.as_bool() != nullptr) return *a.as_bool() == *b.as_bool();
  if (a.as_integer() != nullptr) return *a.as_integer() == *b.as_integer();
  if (a.as_text() != nullptr || a.as_float() != nullptr) {
    fail("'sameas' on strings and floats depends on the interpreter: use '=='");
  }
  return a.address() != nullptr && a.address() == b.address();
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
      {"callable",
       [](E&, V& v, A&) { return v.as_callable() != nullptr || v.as_loop() != nullptr || v.is_undefined(); }},
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
      {"odd", [](E& e, V& v, A&) { return equal(remainder(e, v, Value(int64_t{2})), Value(int64_t{1})); }},
      {"even", [](E& e, V& v, A&) { return equal(remainder(e, v, Value(int64_t{2})), Value(int64_t{0})); }},
      {"divisibleby", [](E& e, V& v, A& a) { return equal(remainder(e, v, other(a)), Value(int64_t{0})); }},
      {"upper", [](E&, V& v, A&) { return is_upper_text(to_text(v).bytes()); }},
      {"lower", [](E&, V& v, A&) { return is_lower_text(to_text(v).bytes()); }},
      {"escaped", [](E&, V& v, A&) { return v.as_text() != nullptr && v.as_text()->safe(); }},
      {"filter", [](E&, V& v, A&) { return v.as_text() != nullptr && is_known_filter(v.as_text()->bytes()); }},
      {"test", [](E&, V& v, A&) { return v.as_text() != nullptr && is_known_test(v.as_text()->bytes()); }},
      // Names that only select() and its like can be given.
      {"==", [](E&, V& v, A& a) { return equal(v, other(a)); }},
      {"!=", [](E&, V& v, A& a) { return !equal(v, other(a)); }},
      {"<", [](E&, V& v, A& a) { return compare(v, other(a)) < 0; }},
      {"<=", [](E&, V& v, A& a) { return compare(v, other(a)) <= 0; }},
      {">", [](E&, V& v, A& a) { return compare(v, other(a)) > 0; }},
      {">=", [](E&, V& v, A& a) { return compare(v, other(a)) >= 0; }},
  };
  return tests;
}

bool takes_argument(std::string_view name) {
  static const std::set<std::string_view> names = {"sameas", "eq", "equalto",     "ne", "lt", "lessthan",
                                                   "le",     "gt", "greaterthan", "ge", "in", "divisibleby",
                                                   "==",     "!=", "<",           "<=", ">",  ">="};
  return names.contains(name);
}

}  // namespace

bool is_known_test(std::string_view name) { return table().contains(name); }

bool apply_test(Evaluator& evaluator, std::string_view name, const Value& input, CallArguments& arguments) {
  const auto found = table().find(name);
  if (found == table().end()) fail("test " + quoted(name) + " is not supported");
  if (!takes_argument(name)) arguments.accept({});
  return found->second(evaluator, input, arguments);
}

}  // namespace graft::text::jinja
