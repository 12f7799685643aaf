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

void Budget::exhausted() {
  fail("the template takes more than " + std::to_string(kMostSteps) + " steps; shorten the messages");
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
  for (const auto& held : namespaces_) held->variables.clear();
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
    run(block, std::make_shared<Scope>(std::move(context)), out);
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
      print(evaluate(*statement.expression, scope), out);
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

// The condition is asked item by item, as the loop goes, unless the body looks at `loop`, which knows the items to
// come.
void Evaluator::run_for(const Statement& statement, const ScopePtr& scope, MarkedText& out) {
  std::vector<Value> items = items_of(evaluate(*statement.expression, scope));
  if (statement.uses_loop && statement.condition != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      if (passes(statement, item, scope)) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  const Value list = Value::list(std::move(items));
  const auto all = list.shared_list();
  bool ran = false;
  ++loops_;
  for (size_t i = 0; i < all->items.size(); ++i) {
    budget.step();
    if (!statement.uses_loop && !passes(statement, all->items[i], scope)) continue;
    ran = true;
    const auto inner = std::make_shared<Scope>(scope);
    if (statement.uses_loop) {
      inner->set("loop", Value(std::make_shared<const Loop>(Loop{all, i, loops_})));
    }
    assign(statement.target, all->items[i], inner);
    if (run(statement.body, inner, out) == Flow::kBreak) break;
  }
  --loops_;
  if (!ran) run(statement.otherwise, std::make_shared<Scope>(scope), out);
}

Value Evaluator::make_callable(const Statement& definition, const ScopePtr& scope, std::string name) {
  closures_.push_back(scope);
  const auto invoke = [this, &definition, scope](CallArguments& arguments) -> Value {
    const Descent descent(budget);
    const auto inner = std::make_shared<Scope>(scope);
    const size_t count = definition.parameters.size();
    if (arguments.positional.size() > count) {
      fail("macro '" + arguments.callee + "' takes not more than " + std::to_string(count) + " argument(s)");
    }
    const int caller_line = line_;
    for (size_t i = 0; i < count; ++i) {
      const std::string& parameter = definition.parameters[i];
      const size_t first_default = count - definition.defaults.size();
      if (const Value* given = arguments.get(i, parameter)) {
        inner->set(parameter, *given);
      } else if (i >= first_default) {
        inner->set(parameter, evaluate(*definition.defaults[i - first_default], inner));
      } else {
        inner->set(parameter, Value::undefined("parameter " + quoted(parameter) + " was not provided"));
      }
    }
    for (const auto& [keyword, value] : arguments.keywords) {
      const bool is_parameter =
          std::find(definition.parameters.begin(), definition.parameters.end(), keyword) != definition.parameters.end();
      if (keyword == "caller" && definition.uses_caller) {
        inner->set("caller", value);
      } else if (!is_parameter) {
        fail("macro '" + arguments.callee + "' takes no keyword argument " + quoted(keyword));
      }
    }
    if (definition.uses_caller && arguments.get(SIZE_MAX, "caller") == nullptr) {
      inner->set("caller", Value::undefined("No caller defined"));
    }
    Value result = text(captured(definition.body, inner));
    line_ = caller_line;
    return result;
  };
  return std::make_shared<const Callable>(Callable{std::move(name), invoke});
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
  if (!target.attribute.empty()) {
    const Value* found = scope->find(target.names[0]);
    Namespace* holder = found != nullptr ? found->as_namespace() : nullptr;
    if (holder == nullptr) fail("cannot assign attribute on non-namespace object");
    for (auto& [name, held] : holder->variables) {
      if (name == target.attribute) {
        held = value;
        return;
      }
    }
    holder->variables.emplace_back(target.attribute, value);
    return;
  }
  if (!target.unpacks) return scope->set(target.names[0], value);
  const std::vector<Value> items = items_of(value);
  if (items.size() != target.names.size()) {
    fail("cannot unpack " + std::to_string(items.size()) + " values into " + std::to_string(target.names.size()) +
         " names");
  }
  for (size_t i = 0; i < items.size(); ++i) scope->set(target.names[i], items[i]);
}

std::vector<Value> Evaluator::items_of(const Value& value) {
  std::vector<Value> items;
  if (const List* list = value.as_list()) {
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
