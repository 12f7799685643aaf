#include "text/jinja/evaluator.h"

#include <algorithm>

#include "text/jinja/failure.h"
#include "text/unicode/code_points.h"

namespace graft::text::jinja {
namespace {

// Counts nested evaluation, which is recursion here.
class Descent {
 public:
  explicit Descent(Budget& budget) : budget_(budget) {
    if (++budget_.depth > kDeepestEvaluation) {
      --budget_.depth;
      fail("macros and expressions nested deeper than " + std::to_string(kDeepestEvaluation) + " levels");
    }
  }
  ~Descent() { --budget_.depth; }
  Descent(const Descent&) = delete;
  Descent& operator=(const Descent&) = delete;

 private:
  Budget& budget_;
};

}  // namespace

void Budget::exhausted() const {
  fail("the template takes more than " + std::to_string(most_steps_) + " steps; shorten the messages");
}

void Budget::made(size_t bytes) {
  if (bytes > kLargestString) fail("a string of more than " + std::to_string(kLargestString) + " bytes");
  bytes_ += bytes;
  if (bytes_ > kMostStringBytes) fail("more than " + std::to_string(kMostStringBytes) + " bytes of strings");
  step(bytes / 1024);
}

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [known, held] : variables) {
    if (known == name) {
      held = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

Evaluator::~Evaluator() {
  for (const auto& held : namespaces_) {
    held->variables.clear();
    held->cycle.clear();
  }
  for (const auto& scope : closures_) scope->variables.clear();
}

std::shared_ptr<Namespace> Evaluator::make_namespace() {
  namespaces_.push_back(std::make_shared<Namespace>());
  budget.step(16);
  return namespaces_.back();
}

MarkedText Evaluator::render(const Block& block, std::vector<std::pair<std::string, Value>> variables) {
  MarkedText out;
  try {
    auto globals = std::make_shared<Scope>(nullptr);
    globals->variables = global_functions(*this);
    auto context = std::make_shared<Scope>(std::move(globals));
    context->variables = std::move(variables);
    top_ = std::make_shared<Scope>(std::move(context));
    run(block, top_, out);
  } catch (Failure& failure) {
    if (failure.line == 0) failure.line = line_;
    throw;
  }
  return out;
}

Evaluator::Flow Evaluator::run(const Block& block, const ScopePtr& scope, MarkedText& out) {
  for (const auto& statement : block) {
    if (const Flow flow = run(*statement, scope, out); flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::run(const Statement& statement, const ScopePtr& scope, MarkedText& out) {
  const Descent descent(budget);
  budget.step();
  line_ = statement.line;
  switch (statement.kind) {
    case Statement::kText:
      append(out, MarkedText(statement.text));
      return Flow::kNext;
    case Statement::kPrint:
      for (const ExpressionPtr& expression : statement.expressions) print(evaluate(*expression, scope), out);
      return Flow::kNext;
    case Statement::kIf:
      return run_if(statement, scope, out);
    case Statement::kFor:
      run_for(statement, scope, out);
      return Flow::kNext;
    case Statement::kSet:
      assign(statement.target, evaluate(*statement.expression, scope), scope);
      return Flow::kNext;
    case Statement::kSetBlock:
      assign(statement.target, filtered(statement.expression.get(), scope, captured(statement.body, scope)), scope);
      return Flow::kNext;
    case Statement::kMacro:
      run_macro(statement, scope);
      return Flow::kNext;
    case Statement::kCallBlock:
      run_call_block(statement, scope, out);
      return Flow::kNext;
    case Statement::kFilterBlock:
      print(filtered(statement.expression.get(), scope, captured(statement.body, scope)), out);
      return Flow::kNext;
    case Statement::kWith: {
      const auto inner = std::make_shared<Scope>(scope);
      for (const auto& [target, value] : statement.assignments) assign(target, evaluate(*value, scope), inner);
      return run(statement.body, inner, out);
    }
    case Statement::kScope:
      return run(statement.body, std::make_shared<Scope>(scope), out);
    case Statement::kGeneration:
      run_generation(statement, scope, out);
      return Flow::kNext;
    case Statement::kBlock:
      append(out, captured(statement.body, top_));
      return Flow::kNext;
    case Statement::kBreak:
      return Flow::kBreak;
    case Statement::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::run_if(const Statement& statement, const ScopePtr& scope, MarkedText& out) {
  for (const auto& branch : statement.branches) {
    if (branch.condition == nullptr || evaluate(*branch.condition, scope).truthy()) {
      return run(branch.body, scope, out);
    }
  }
  return Flow::kNext;
}

bool Evaluator::passes(const Statement& loop, const Value& item, const ScopePtr& scope) {
  if (loop.condition == nullptr) return true;
  const auto inner = std::make_shared<Scope>(scope);
  assign(loop.target, item, inner);
  return evaluate(*loop.condition, inner).truthy();
}

void Evaluator::run_for(const Statement& statement, const ScopePtr& scope, MarkedText& out) {
  if (statement.recursive) closures_.push_back(scope);
  run_loop(statement, evaluate(*statement.expression, scope), scope, 1, out);
}

Value Evaluator::loop_function(const Statement& statement, const ScopePtr& scope, int depth) {
  const auto call = [this, &statement, scope, depth](CallArguments& arguments) -> Value {
    const Descent descent(budget);
    arguments.accept({"iterable"});
    MarkedText printed;
    run_loop(statement, arguments.required(0, "iterable"), scope, depth + 1, printed);
    return text(std::move(printed));
  };
  return std::make_shared<const Callable>(Callable{"loop", call, {}});
}

// The condition is asked item by item, as the loop goes, unless the body looks at `loop`, which knows the items to
// come.
void Evaluator::run_loop(const Statement& statement, const Value& iterable, const ScopePtr& scope, int depth,
                         MarkedText& out) {
  std::vector<Value> items = items_of(iterable);
  if (statement.uses_loop && statement.condition != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      if (passes(statement, item, scope)) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  // What `loop` remembers may hold `loop`; it is forgotten at the end.
  struct Shared {
    std::shared_ptr<LoopState> state = std::make_shared<LoopState>();
    ~Shared() {
      state->recurse.clear();
      state->changed.clear();
    }
  } const shared;
  shared.state->items = Value::list(std::move(items)).shared_list();
  shared.state->depth = depth;
  if (statement.recursive) shared.state->recurse.push_back(loop_function(statement, scope, depth));
  // Whether an iteration came to its end: one that `break` or `continue` cuts short does not count, as in Jinja.
  bool ran = false;
  for (size_t i = 0; i < shared.state->items->items.size(); ++i) {
    const Value& item = shared.state->items->items[i];
    budget.step();
    if (!statement.uses_loop && !passes(statement, item, scope)) continue;
    const auto inner = std::make_shared<Scope>(scope);
    if (statement.uses_loop) inner->set("loop", Value(std::make_shared<const Loop>(Loop{shared.state, i})));
    assign(statement.target, item, inner);
    const Flow flow = run(statement.body, inner, out);
    if (flow == Flow::kBreak) break;
    ran = ran || flow == Flow::kNext;
  }
  if (!ran) run(statement.otherwise, std::make_shared<Scope>(scope), out);
}

// As Jinja's Macro object hands its arguments on: first by place, then by name, then to varargs and kwargs.
void Evaluator::bind_arguments(const Statement& definition, const CallArguments& arguments, const ScopePtr& inner) {
  const std::vector<std::string>& names = definition.parameters;
  const size_t by_place = std::min(arguments.positional.size(), names.size());
  const size_t first_default = names.size() - definition.defaults.size();
  std::vector<std::pair<Value, Value>> others;
  const auto named = [&](std::string_view name) {
    return std::find_if(arguments.keywords.begin(), arguments.keywords.end(),
                        [&](auto& it) { return it.first == name; });
  };
  bool caller_bound = false;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto keyword = named(names[i]);
    caller_bound = caller_bound || names[i] == "caller";
    if (i < by_place) {
      inner->set(names[i], arguments.positional[i]);
    } else if (keyword != arguments.keywords.end()) {
      inner->set(names[i], keyword->second);
    } else if (i >= first_default) {
      inner->set(names[i], evaluate(*definition.defaults[i - first_default], inner));
    } else {
      inner->set(names[i], Value::undefined("parameter " + quoted(names[i]) + " was not provided"));
    }
  }
  const bool takes_caller = definition.uses_caller && !caller_bound;
  if (takes_caller) {
    const auto caller = named("caller");
    inner->set("caller", caller != arguments.keywords.end() ? caller->second : Value::undefined("No caller defined"));
  }
  for (const auto& [name, value] : arguments.keywords) {
    const auto place = std::find(names.begin(), names.end(), name) - names.begin();
    const bool is_parameter = place < static_cast<std::ptrdiff_t>(names.size());
    if (is_parameter && place >= static_cast<std::ptrdiff_t>(by_place)) continue;
    if (takes_caller && name == "caller") continue;
    if (!definition.uses_kwargs)
      fail("macro " + quoted(arguments.callee) + " takes no keyword argument " + quoted(name));
    others.emplace_back(arguments.keyword_text(name), value);
  }
  if (definition.uses_kwargs) inner->set("kwargs", Value::dict(std::move(others)));
  if (definition.uses_varargs) {
    const auto rest = arguments.positional.begin() + static_cast<std::ptrdiff_t>(by_place);
    inner->set("varargs", Value::list({rest, arguments.positional.end()}, true));
  } else if (arguments.positional.size() > names.size()) {
    fail("macro " + quoted(arguments.callee) + " takes not more than " + std::to_string(names.size()) + " argument(s)");
  }
}

Value Evaluator::make_callable(const Statement& definition, const ScopePtr& scope, std::string name) {
  closures_.push_back(scope);
  budget.step(16);
  const auto invoke = [this, &definition, scope](CallArguments& arguments) -> Value {
    const Descent descent(budget);
    const auto inner = std::make_shared<Scope>(scope);
    const int caller_line = line_;
    bind_arguments(definition, arguments, inner);
    Value result = text(captured(definition.body, inner));
    line_ = caller_line;
    return result;
  };
  std::vector<Value> names;
  for (const std::string& parameter : definition.parameters) names.push_back(Value::text(parameter));
  Callable callable{name, invoke, {}};
  callable.attributes = {{"name", definition.kind == Statement::kMacro ? Value::text(name) : Value()},
                         {"arguments", Value::list(std::move(names), true)},
                         {"catch_kwargs", Value(definition.uses_kwargs)},
                         {"catch_varargs", Value(definition.uses_varargs)},
                         {"caller", Value(definition.uses_caller)}};
  return std::make_shared<const Callable>(std::move(callable));
}

void Evaluator::run_generation(const Statement& statement, const ScopePtr& scope, MarkedText& out) {
  MarkedText said = captured(statement.body, scope);
  said.set_generated();
  append(out, said);
}

void Evaluator::run_macro(const Statement& statement, const ScopePtr& scope) {
  scope->set(statement.text, make_callable(statement, scope, statement.text));
}

void Evaluator::run_call_block(const Statement& statement, const ScopePtr& scope, MarkedText& out) {
  const Value caller = make_callable(statement, scope, "caller");
  print(call_with(*statement.expression, scope, &caller), out);
}

MarkedText Evaluator::captured(const Block& block, const ScopePtr& scope) {
  MarkedText out;
  run(block, std::make_shared<Scope>(scope), out);
  return out;
}

void Evaluator::append(MarkedText& out, const MarkedText& text) {
  printed_ += text.size();
  // What a macro prints is counted again where its result is printed.
  if (printed_ > kLargestOutput) fail("more than " + std::to_string(kLargestOutput) + " bytes of output");
  out.append(text);
}

void Evaluator::print(const Value& value, MarkedText& out) {
  if (const MarkedText* text = value.as_text()) return append(out, *text);
  append(out, to_text(value));
}

void Evaluator::assign(const Target& target, const Value& value, const ScopePtr& scope) {
  if (target.unpacks) {
    const std::vector<Value> items = items_of(value);
    if (items.size() != target.parts.size()) {
      fail("cannot unpack " + std::to_string(items.size()) + " values into " + std::to_string(target.parts.size()) +
           " names");
    }
    for (size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i], scope);
    return;
  }
  if (target.attribute.empty()) return scope->set(target.name, value);
  const Value* found = scope->find(target.name);
  Namespace* holder = found != nullptr ? found->as_namespace() : nullptr;
  if (holder == nullptr || holder->is_cycler()) fail("cannot assign attribute on non-namespace object");
  for (auto& [name, held] : holder->variables) {
    if (name == target.attribute) {
      held = value;
      return;
    }
  }
  holder->variables.emplace_back(target.attribute, value);
}

std::vector<Value> Evaluator::items_of(const Value& value) {
  std::vector<Value> items;
  if (const List* list = value.as_list(); list != nullptr && list->is_generator()) {
    items.assign(list->items.begin() + static_cast<std::ptrdiff_t>(list->taken), list->items.end());
    list->taken = list->items.size();
  } else if (list != nullptr) {
    items = list->items;
  } else if (const Dict* dict = value.as_dict()) {
    for (const auto& [key, held] : dict->items) items.push_back(key);
  } else if (const MarkedText* text = value.as_text()) {
    for (size_t i = 0; i < text->size();) {
      const size_t size = code_point_at(text->bytes(), i).size;
      items.emplace_back(text->slice(i, i + size));
      i += size;
      budget.step();
    }
  } else if (!value.is_undefined()) {
    fail(quoted(value.type_name()) + " object is not iterable");
  }
  budget.step(items.size());
  return items;
}

Value Evaluator::filtered(const Expression* filters, const ScopePtr& scope, MarkedText made) {
  const Value input = text(std::move(made));
  if (filters == nullptr) return input;
  const Value* outer = std::exchange(block_text_, &input);
  Value result = evaluate(*filters, scope);
  block_text_ = outer;
  return result;
}

}  // namespace graft::text::jinja
