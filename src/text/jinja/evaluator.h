#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/limits.h"
#include "text/jinja/value.h"

namespace graft::text::jinja {

struct CallArguments {
  std::string callee;  // for messages
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
  std::vector<Value> spread_keys;  // of a mapping behind **: keywords whose names may be a user's text

  // The value of a parameter given by place or by name; nullptr where it was left out. Call accept() once before.
  [[nodiscard]] const Value* get(size_t place, std::string_view name) const;
  // Fails where there are more arguments than names, or one of another name.
  void accept(std::initializer_list<std::string_view> names) const;
  [[nodiscard]] const Value& required(size_t place, std::string_view name) const;
  [[nodiscard]] bool flag(size_t place, std::string_view name, bool fallback) const;
  [[nodiscard]] int64_t integer(size_t place, std::string_view name, int64_t fallback) const;
  // The name of a keyword argument, as text.
  [[nodiscard]] Value keyword_text(const std::string& name) const;
};

// Names that can be seen from one place of a template.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> outer) : parent(std::move(outer)) {}
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;

  [[nodiscard]] const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

// What one rendering has used up.
class Budget {
 public:
  explicit Budget(uint64_t most_steps) : most_steps_(most_steps) {}
  void step(uint64_t count = 1) {
    steps_ += count;
    if (steps_ > most_steps_) exhausted();
  }
  // A string that was made. Long ones cost steps too.
  void made(size_t bytes);
  int depth = 0;

 private:
  [[noreturn]] void exhausted() const;
  uint64_t most_steps_;
  uint64_t steps_ = 0;
  uint64_t bytes_ = 0;
};

// Renders one template once. Throws Failure.
class Evaluator {
 public:
  // `now` is what strftime_now formats; nothing: the local time.
  explicit Evaluator(std::optional<std::tm> now, uint64_t most_steps = kMostSteps) : budget(most_steps), now_(now) {}
  ~Evaluator();
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  MarkedText render(const Block& block, std::vector<std::pair<std::string, Value>> variables);

  Value evaluate(const Expression& expression, const std::shared_ptr<Scope>& scope);
  // For filters, tests and methods.
  Value call(const Value& callee, CallArguments& arguments);
  Value attribute(const Value& object, std::string_view name);
  Value item(const Value& object, const Value& key);
  // The values that a loop over `value` goes through.
  std::vector<Value> items_of(const Value& value);
  std::shared_ptr<Namespace> make_namespace();
  Value text(MarkedText made) {
    budget.made(made.size());
    return Value(std::move(made));
  }
  [[nodiscard]] const std::optional<std::tm>& now() const { return now_; }
  Budget budget;

 private:
  enum class Flow { kNext, kBreak, kContinue };
  using ScopePtr = std::shared_ptr<Scope>;

  Flow run(const Block& block, const ScopePtr& scope, MarkedText& out);
  Flow run(const Statement& statement, const ScopePtr& scope, MarkedText& out);
  Flow run_if(const Statement& statement, const ScopePtr& scope, MarkedText& out);
  void run_for(const Statement& statement, const ScopePtr& scope, MarkedText& out);
  // `depth`: 1, and one more in every loop(...) of a recursive loop.
  void run_loop(const Statement& statement, const Value& iterable, const ScopePtr& scope, int depth, MarkedText& out);
  Value loop_function(const Statement& statement, const ScopePtr& scope, int depth);
  void run_macro(const Statement& statement, const ScopePtr& scope);
  void run_call_block(const Statement& statement, const ScopePtr& scope, MarkedText& out);
  void run_generation(const Statement& statement, const ScopePtr& scope, MarkedText& out);
  MarkedText captured(const Block& block, const ScopePtr& scope);
  void print(const Value& value, MarkedText& out);
  void append(MarkedText& out, const MarkedText& text);
  void assign(const Target& target, const Value& value, const ScopePtr& scope);
  bool passes(const Statement& loop, const Value& item, const ScopePtr& scope);

  Value make_callable(const Statement& definition, const ScopePtr& scope, std::string name);
  void bind_arguments(const Statement& definition, const CallArguments& arguments, const ScopePtr& inner);
  Value lookup(const Expression& name, const ScopePtr& scope);
  Value collection(const Expression& expression, const ScopePtr& scope);
  Value slice(const Expression& expression, const ScopePtr& scope);
  Value call_with(const Expression& expression, const ScopePtr& scope, const Value* caller);
  Value filter(const Expression& expression, const ScopePtr& scope);
  // `text` through the filters of a block, where there are any.
  Value filtered(const Expression* filters, const ScopePtr& scope, MarkedText text);
  bool test(const Expression& expression, const ScopePtr& scope);
  Value comparison(const Expression& expression, const ScopePtr& scope);
  CallArguments arguments(const Expression& expression, const ScopePtr& scope);

  std::optional<std::tm> now_;
  int line_ = 0;  // of what is being evaluated
  size_t printed_ = 0;
  const Value* block_text_ = nullptr;  // what the filters of a block are applied to
  // What may hold itself through a closure or an attribute; emptied at the end.
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> closures_;
  ScopePtr top_;  // the template's own names
};

// The parts, each with its table.
Value apply_filter(Evaluator& evaluator, std::string_view name, const Value& input, CallArguments& arguments);
bool apply_test(Evaluator& evaluator, std::string_view name, const Value& input, CallArguments& arguments);
// Nothing where the type has no such method.
std::optional<Value> method(Evaluator& evaluator, const Value& object, std::string_view name);
Value binary_operation(Evaluator& evaluator, std::string_view op, const Value& a, const Value& b);
void check_hashable(const Value& key);
bool contains(Evaluator& evaluator, const Value& container, const Value& item);
std::vector<std::pair<std::string, Value>> global_functions(Evaluator& evaluator);

}  // namespace graft::text::jinja
