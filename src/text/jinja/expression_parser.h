#pragma once

#include "text/jinja/ast.h"
#include "text/jinja/token_stream.h"

namespace graft::text::jinja {

// The expression grammar, as Jinja 3.1 has it. Throws Failure.
class ExpressionParser {
 public:
  ExpressionParser(TokenStream& stream, int& depth) : stream_(stream), depth_(depth) {}

  ExpressionPtr expression() { return conditional(); }
  // One expression, or a tuple without parentheses. The `in` part of a loop takes no `if ... else`.
  ExpressionPtr tuple(bool with_conditional = true);
  ExpressionPtr call_of(ExpressionPtr callee);
  // | name | name(...) behind nothing: the filters of a block. Null where there are none.
  ExpressionPtr filters(ExpressionPtr input);
  ExpressionPtr filter_chain_from_name();

  static ExpressionPtr node(Expression::Kind kind, int line, std::string name = {}) {
    auto made = std::make_unique<Expression>();
    made->kind = kind;
    made->line = line;
    made->name = std::move(name);
    return made;
  }

 private:
  ExpressionPtr conditional();
  ExpressionPtr either();
  ExpressionPtr both();
  ExpressionPtr negated();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concat();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr name_or_constant();
  ExpressionPtr number();
  ExpressionPtr parenthesised();
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr operand);
  ExpressionPtr attribute(ExpressionPtr operand);
  ExpressionPtr subscript(ExpressionPtr operand);
  ExpressionPtr slice(ExpressionPtr operand, ExpressionPtr start, int line);
  ExpressionPtr test(ExpressionPtr operand);
  ExpressionPtr one_filter(ExpressionPtr input);
  void arguments(Expression& call);
  [[nodiscard]] bool at_tuple_end() const;

  template <class Next>
  ExpressionPtr binary_chain(std::initializer_list<std::string_view> operators, Next next);

  TokenStream& stream_;
  int& depth_;
};

// For messages and for the parser: whether a filter or test of this name exists. Defined with their tables.
bool is_known_filter(std::string_view name);
bool is_known_test(std::string_view name);

}  // namespace graft::text::jinja
