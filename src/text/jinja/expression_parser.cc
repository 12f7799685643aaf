#include "text/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>

#include "base/strings.h"

namespace graft::text::jinja {
namespace {

ExpressionPtr with_operands(ExpressionPtr made, ExpressionPtr a, ExpressionPtr b = nullptr) {
  made->operands.push_back(std::move(a));
  if (b != nullptr) made->operands.push_back(std::move(b));
  return made;
}

int64_t parse_integer(const Token& token) {
  std::string_view digits = token.text;
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0' && digits[1] > '9') {
    const char kind = digits[1];
    base = kind == 'x' || kind == 'X' ? 16 : kind == 'o' || kind == 'O' ? 8 : 2;
    digits.remove_prefix(2);
  }
  int64_t value = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size()) {
    fail("the number '" + printable(token.text, 40) + "' is malformed or too large", token.line);
  }
  return value;
}

}  // namespace

bool ExpressionParser::at_tuple_end() const {
  const Token& token = stream_.current();
  return token.kind == Token::kVariableEnd || token.kind == Token::kBlockEnd || token.kind == Token::kEnd ||
         token.is_operator(")") || token.is_operator("]") || token.is_name("recursive") || token.is_operator("=");
}

ExpressionPtr ExpressionParser::tuple(bool with_conditional) {
  const int line = stream_.current().line;
  const auto item = [&] { return with_conditional ? conditional() : either(); };
  ExpressionPtr first = item();
  if (!stream_.current().is_operator(",")) return first;
  ExpressionPtr made = node(Expression::kTuple, line);
  made->operands.push_back(std::move(first));
  while (stream_.skip_operator(",")) {
    if (at_tuple_end()) break;
    made->operands.push_back(item());
  }
  return made;
}

ExpressionPtr ExpressionParser::conditional() {
  const Nesting nesting(depth_, stream_.current().line);
  ExpressionPtr value = either();
  while (stream_.current().is_name("if")) {
    ExpressionPtr made = node(Expression::kConditional, stream_.next().line);
    made->operands.push_back(either());
    made->operands.push_back(std::move(value));
    made->operands.push_back(stream_.skip_name("else") ? conditional() : nullptr);
    value = std::move(made);
  }
  return value;
}

ExpressionPtr ExpressionParser::either() {
  ExpressionPtr left = both();
  while (stream_.current().is_name("or")) {
    ExpressionPtr made = node(Expression::kOr, stream_.next().line);
    left = with_operands(std::move(made), std::move(left), both());
  }
  return left;
}

ExpressionPtr ExpressionParser::both() {
  ExpressionPtr left = negated();
  while (stream_.current().is_name("and")) {
    ExpressionPtr made = node(Expression::kAnd, stream_.next().line);
    left = with_operands(std::move(made), std::move(left), negated());
  }
  return left;
}

ExpressionPtr ExpressionParser::negated() {
  if (!stream_.current().is_name("not")) return comparison();
  const Nesting nesting(depth_, stream_.current().line);
  ExpressionPtr made = node(Expression::kUnary, stream_.next().line, "not");
  return with_operands(std::move(made), negated());
}

ExpressionPtr ExpressionParser::comparison() {
  static constexpr std::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
  ExpressionPtr first = sum();
  ExpressionPtr chain;
  while (true) {
    const Token& token = stream_.current();
    std::string op;
    if (token.kind == Token::kOperator &&
        std::find(std::begin(kOperators), std::end(kOperators), token.text) != std::end(kOperators)) {
      op = token.text;
    } else if (token.is_name("in")) {
      op = "in";
    } else if (token.is_name("not") && stream_.ahead().is_name("in")) {
      stream_.next();
      op = "not in";
    } else {
      break;
    }
    const int line = stream_.next().line;
    if (chain == nullptr) chain = with_operands(node(Expression::kComparison, line), std::move(first));
    chain->names.push_back(op);
    chain->operands.push_back(sum());
  }
  return chain != nullptr ? std::move(chain) : std::move(first);
}

// Long chains of operators nest to the left: they count as nesting too, since they are evaluated recursively.
template <class Next>
ExpressionPtr ExpressionParser::binary_chain(std::initializer_list<std::string_view> operators, Next next) {
  ExpressionPtr left = next();
  int links = 0;
  while (stream_.current().kind == Token::kOperator &&
         std::find(operators.begin(), operators.end(), stream_.current().text) != operators.end()) {
    const Token op = stream_.next();
    if (depth_ + ++links > kDeepestSyntax) fail("too many operators in a row", op.line);
    left = with_operands(node(Expression::kBinary, op.line, op.text), std::move(left), next());
  }
  return left;
}

ExpressionPtr ExpressionParser::sum() {
  return binary_chain({"+", "-"}, [&] { return concat(); });
}

ExpressionPtr ExpressionParser::concat() {
  ExpressionPtr first = product();
  if (!stream_.current().is_operator("~")) return first;
  ExpressionPtr made = with_operands(node(Expression::kConcat, stream_.current().line), std::move(first));
  while (stream_.skip_operator("~")) made->operands.push_back(product());
  return made;
}

ExpressionPtr ExpressionParser::product() {
  return binary_chain({"*", "/", "//", "%"}, [&] { return power(); });
}

ExpressionPtr ExpressionParser::power() {
  return binary_chain({"**"}, [&] { return unary(true); });
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  ExpressionPtr made;
  const Token& token = stream_.current();
  if (token.is_operator("-") || token.is_operator("+")) {
    const Nesting nesting(depth_, token.line);
    const Token sign = stream_.next();
    made = with_operands(node(Expression::kUnary, sign.line, sign.text), unary(false));
  } else {
    made = primary();
  }
  made = postfix(std::move(made));
  return with_filters ? filters(std::move(made)) : std::move(made);
}

ExpressionPtr ExpressionParser::primary() {
  const Token& token = stream_.current();
  switch (token.kind) {
    case Token::kName:
      return name_or_constant();
    case Token::kInteger:
    case Token::kFloat:
      return number();
    case Token::kString: {
      ExpressionPtr made = node(Expression::kConstant, token.line);
      std::string text;
      while (stream_.current().kind == Token::kString) text += stream_.next().text;
      made->value = Value::text(text);
      return made;
    }
    default:
      break;
  }
  if (token.is_operator("(")) return parenthesised();
  if (token.is_operator("[")) return list();
  if (token.is_operator("{")) return dict();
  stream_.unexpected("an expression");
}

ExpressionPtr ExpressionParser::name_or_constant() {
  const Token token = stream_.next();
  ExpressionPtr made = node(Expression::kConstant, token.line);
  if (token.text == "true" || token.text == "True") {
    made->value = true;
  } else if (token.text == "false" || token.text == "False") {
    made->value = false;
  } else if (token.text != "none" && token.text != "None") {
    made->kind = Expression::kName;
    made->name = token.text;
  }
  return made;
}

ExpressionPtr ExpressionParser::number() {
  const Token token = stream_.next();
  ExpressionPtr made = node(Expression::kConstant, token.line);
  if (token.kind == Token::kInteger) {
    made->value = parse_integer(token);
    return made;
  }
  double value = 0;
  const auto end = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
  if (end.ec != std::errc()) fail("the number '" + printable(token.text, 40) + "' is out of range", token.line);
  made->value = value;
  return made;
}

ExpressionPtr ExpressionParser::parenthesised() {
  const int line = stream_.next().line;
  if (stream_.skip_operator(")")) return node(Expression::kTuple, line);
  ExpressionPtr inner = tuple();
  stream_.expect_operator(")");
  return inner;
}

ExpressionPtr ExpressionParser::list() {
  ExpressionPtr made = node(Expression::kList, stream_.next().line);
  while (!stream_.current().is_operator("]")) {
    made->operands.push_back(expression());
    if (!stream_.skip_operator(",")) break;
  }
  stream_.expect_operator("]");
  return made;
}

ExpressionPtr ExpressionParser::dict() {
  ExpressionPtr made = node(Expression::kDict, stream_.next().line);
  while (!stream_.current().is_operator("}")) {
    made->operands.push_back(expression());
    stream_.expect_operator(":");
    made->operands.push_back(expression());
    if (!stream_.skip_operator(",")) break;
  }
  stream_.expect_operator("}");
  return made;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr operand) {
  for (int links = 0;; ++links) {
    const Token& token = stream_.current();
    if (depth_ + links > kDeepestSyntax) fail("too many calls and subscripts in a row", token.line);
    if (token.is_operator(".")) {
      operand = attribute(std::move(operand));
    } else if (token.is_operator("[")) {
      operand = subscript(std::move(operand));
    } else if (token.is_operator("(")) {
      operand = call_of(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::attribute(ExpressionPtr operand) {
  const int line = stream_.next().line;
  const Token token = stream_.next();
  if (token.kind == Token::kName)
    return with_operands(node(Expression::kAttribute, line, token.text), std::move(operand));
  if (token.kind != Token::kInteger) fail("expected a name behind '.', found " + shown(token), token.line);
  ExpressionPtr index = node(Expression::kConstant, line);
  index->value = parse_integer(token);
  return with_operands(node(Expression::kSubscript, line), std::move(operand), std::move(index));
}

// One index, a slice, or several indices, which are a tuple.
ExpressionPtr ExpressionParser::subscript(ExpressionPtr operand) {
  const int line = stream_.next().line;
  if (stream_.current().is_operator(":")) return slice(std::move(operand), nullptr, line);
  if (stream_.current().is_operator("]")) stream_.unexpected("an expression");
  ExpressionPtr index = expression();
  if (stream_.current().is_operator(":")) return slice(std::move(operand), std::move(index), line);
  if (stream_.current().is_operator(",")) {
    ExpressionPtr several = with_operands(node(Expression::kTuple, line), std::move(index));
    while (stream_.skip_operator(",") && !stream_.current().is_operator("]")) several->operands.push_back(expression());
    index = std::move(several);
  }
  stream_.expect_operator("]");
  return with_operands(node(Expression::kSubscript, line), std::move(operand), std::move(index));
}

ExpressionPtr ExpressionParser::slice(ExpressionPtr operand, ExpressionPtr start, int line) {
  ExpressionPtr made = node(Expression::kSlice, line);
  made->operands.push_back(std::move(operand));
  made->operands.push_back(std::move(start));
  for (int part = 0; part < 2; ++part) {
    const bool given =
        stream_.skip_operator(":") && !stream_.current().is_operator(":") && !stream_.current().is_operator("]");
    made->operands.push_back(given ? expression() : nullptr);
  }
  stream_.expect_operator("]");
  return made;
}

// Positional ones first, then *x and named ones, **x at the end.
void ExpressionParser::arguments(Expression& call) {
  stream_.expect_operator("(");
  while (!stream_.current().is_operator(")")) {
    const Token token = stream_.current();
    if (call.more_keywords != nullptr) fail("an argument behind '**'", token.line);
    if (stream_.skip_operator("*")) {
      if (call.more_positional != nullptr) fail("two arguments with '*'", token.line);
      call.more_positional = expression();
    } else if (stream_.skip_operator("**")) {
      call.more_keywords = expression();
    } else if (token.kind == Token::kName && stream_.ahead().is_operator("=")) {
      stream_.next();
      stream_.next();
      call.keywords.emplace_back(token.text, expression());
    } else {
      if (!call.keywords.empty() || call.more_positional != nullptr) {
        fail("a positional argument behind a named one", token.line);
      }
      call.operands.push_back(expression());
    }
    if (!stream_.skip_operator(",")) break;
  }
  stream_.expect_operator(")");
}

ExpressionPtr ExpressionParser::call_of(ExpressionPtr callee) {
  ExpressionPtr made = with_operands(node(Expression::kCall, stream_.current().line), std::move(callee));
  arguments(*made);
  return made;
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr operand) {
  for (int links = 0;; ++links) {
    const Token& token = stream_.current();
    if (depth_ + links > kDeepestSyntax) fail("too many filters in a row", token.line);
    if (token.is_operator("|")) {
      stream_.next();
      operand = one_filter(std::move(operand));
    } else if (token.is_name("is")) {
      operand = test(std::move(operand));
    } else if (token.is_operator("(") && operand != nullptr) {
      operand = call_of(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::filter_chain_from_name() { return filters(one_filter(nullptr)); }

ExpressionPtr ExpressionParser::one_filter(ExpressionPtr input) {
  const int line = stream_.current().line;
  std::string name = stream_.expect_name();
  while (stream_.skip_operator(".")) name += "." + stream_.expect_name();
  if (!is_known_filter(name)) fail("filter '" + printable(name, 60) + "' is not supported", line);
  ExpressionPtr made = node(Expression::kFilter, line, std::move(name));
  made->operands.push_back(std::move(input));
  if (stream_.current().is_operator("(")) arguments(*made);
  return made;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr operand) {
  const int line = stream_.next().line;
  const bool negate = stream_.skip_name("not");
  std::string name = stream_.expect_name();
  while (stream_.skip_operator(".")) name += "." + stream_.expect_name();
  if (!is_known_test(name)) fail("test '" + printable(name, 60) + "' is not supported", line);
  ExpressionPtr made = with_operands(node(Expression::kTest, line, std::move(name)), std::move(operand));
  const Token& token = stream_.current();
  const bool ends = token.is_name("else") || token.is_name("or") || token.is_name("and");
  if (token.is_operator("(")) {
    arguments(*made);
  } else if (token.is_name("is")) {
    fail("tests cannot be chained with 'is'", token.line);
  } else if ((token.kind == Token::kName && !ends) || token.kind == Token::kString || token.kind == Token::kInteger ||
             token.kind == Token::kFloat || token.is_operator("[") || token.is_operator("{")) {
    made->operands.push_back(postfix(primary()));
  }
  if (!negate) return made;
  return with_operands(node(Expression::kUnary, line, "not"), std::move(made));
}

}  // namespace graft::text::jinja
