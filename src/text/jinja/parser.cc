#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "base/strings.h"
#include "text/jinja/expression_parser.h"

namespace graft::text::jinja {
namespace {

using StatementPtr = std::unique_ptr<Statement>;

StatementPtr statement(Statement::Kind kind, int line) {
  auto made = std::make_unique<Statement>();
  made->kind = kind;
  made->line = line;
  return made;
}

class Parser {
 public:
  explicit Parser(std::string_view source) : stream_(tokenize(source)), expressions_(stream_, depth_) {}

  Block run() {
    Block block = body({});
    return block;
  }

 private:
  // Statements up to a tag that starts with one of `ends`, whose name is then the current token; with no `ends`, all.
  Block body(std::initializer_list<std::string_view> ends);
  StatementPtr tag();
  StatementPtr print();
  StatementPtr if_tag();
  StatementPtr for_tag();
  StatementPtr set_tag();
  StatementPtr macro_tag();
  StatementPtr call_tag();
  StatementPtr filter_tag();
  StatementPtr with_tag();
  StatementPtr generation_tag();
  StatementPtr loop_control(Statement::Kind kind);

  Target target(bool may_be_attribute);
  void parameters(Statement& owner);
  void end_tag(const char* name) {
    if (!stream_.skip_name(name)) stream_.unexpected("'" + std::string(name) + "'");
    end_of_tag();
  }
  void end_of_tag() { stream_.expect(Token::kBlockEnd, "'%}'"); }
  // Whether a name is used between two places of the stream.
  [[nodiscard]] bool names(size_t begin, size_t end, std::string_view name) const {
    for (size_t i = begin; i < end; ++i) {
      if (stream_.at(i).is_name(name) && (i == 0 || !stream_.at(i - 1).is_operator("."))) return true;
    }
    return false;
  }

  int depth_ = 0;
  int loops_ = 0;  // around the present place, within the same macro
  TokenStream stream_;
  ExpressionParser expressions_;
};

Block Parser::body(std::initializer_list<std::string_view> ends) {
  const Nesting nesting(depth_, stream_.current().line);
  Block block;
  while (true) {
    const Token& token = stream_.current();
    if (token.kind == Token::kEnd) {
      if (ends.size() > 0) fail("missing '{% " + std::string(*(ends.end() - 1)) + " %}'", token.line);
      return block;
    }
    if (token.kind == Token::kData) {
      block.push_back(statement(Statement::kText, token.line));
      block.back()->text = stream_.next().text;
    } else if (token.kind == Token::kVariableBegin) {
      block.push_back(print());
    } else {
      stream_.next();
      if (std::find(ends.begin(), ends.end(), stream_.current().text) != ends.end()) return block;
      block.push_back(tag());
    }
  }
}

StatementPtr Parser::print() {
  StatementPtr made = statement(Statement::kPrint, stream_.next().line);
  made->expression = expressions_.tuple();
  stream_.expect(Token::kVariableEnd, "'}}'");
  return made;
}

StatementPtr Parser::tag() {
  const Token& token = stream_.current();
  if (token.is_name("if")) return if_tag();
  if (token.is_name("for")) return for_tag();
  if (token.is_name("set")) return set_tag();
  if (token.is_name("macro")) return macro_tag();
  if (token.is_name("call")) return call_tag();
  if (token.is_name("filter")) return filter_tag();
  if (token.is_name("with")) return with_tag();
  if (token.is_name("generation")) return generation_tag();
  if (token.is_name("break")) return loop_control(Statement::kBreak);
  if (token.is_name("continue")) return loop_control(Statement::kContinue);
  if (token.kind != Token::kName) stream_.unexpected("a tag's name");
  for (const std::string_view known : {"include", "import", "from", "extends", "block", "do", "autoescape", "trans"}) {
    if (token.text == known) fail("tag '" + token.text + "' is not supported", token.line);
  }
  fail("unknown tag '" + printable(token.text, 60) + "'", token.line);
}

StatementPtr Parser::if_tag() {
  StatementPtr made = statement(Statement::kIf, stream_.next().line);
  while (true) {
    ExpressionPtr condition = expressions_.tuple(false);
    end_of_tag();
    made->branches.push_back({std::move(condition), body({"elif", "else", "endif"})});
    if (stream_.skip_name("elif")) continue;
    if (stream_.skip_name("else")) {
      end_of_tag();
      made->branches.push_back({nullptr, body({"endif"})});
    }
    end_tag("endif");
    return made;
  }
}

Target Parser::target(bool may_be_attribute) {
  Target made;
  if (may_be_attribute && stream_.current().kind == Token::kName && stream_.ahead().is_operator(".")) {
    made.names.push_back(stream_.next().text);
    stream_.next();
    made.attribute = stream_.expect_name();
    return made;
  }
  const bool parenthesised = stream_.skip_operator("(");
  made.names.push_back(stream_.expect_name());
  while (stream_.skip_operator(",")) {
    made.unpacks = true;
    if (stream_.current().kind != Token::kName || stream_.current().is_name("in")) break;
    made.names.push_back(stream_.expect_name());
  }
  if (parenthesised) stream_.expect_operator(")");
  for (const std::string& name : made.names) {
    if (name == "true" || name == "false" || name == "none" || name == "True" || name == "False" || name == "None") {
      fail("cannot assign to '" + name + "'", stream_.current().line);
    }
  }
  return made;
}

StatementPtr Parser::for_tag() {
  StatementPtr made = statement(Statement::kFor, stream_.next().line);
  made->target = target(false);
  if (std::find(made->target.names.begin(), made->target.names.end(), "loop") != made->target.names.end()) {
    fail("cannot assign to 'loop' in a loop", made->line);
  }
  if (!stream_.skip_name("in")) stream_.unexpected("'in'");
  made->expression = expressions_.tuple(false);
  if (stream_.skip_name("if")) made->condition = expressions_.expression();
  if (stream_.current().is_name("recursive")) fail("recursive loops are not supported", made->line);
  end_of_tag();
  const size_t begin = stream_.position();
  ++loops_;
  made->body = body({"else", "endfor"});
  --loops_;
  made->uses_loop = names(begin, stream_.position(), "loop");
  if (stream_.skip_name("else")) {
    end_of_tag();
    made->otherwise = body({"endfor"});
  }
  end_tag("endfor");
  return made;
}

StatementPtr Parser::set_tag() {
  StatementPtr made = statement(Statement::kSet, stream_.next().line);
  made->target = target(true);
  if (stream_.skip_operator("=")) {
    made->expression = expressions_.tuple();
    end_of_tag();
    return made;
  }
  made->kind = Statement::kSetBlock;
  made->expression = expressions_.filters(nullptr);
  end_of_tag();
  const int loops = std::exchange(loops_, 0);
  made->body = body({"endset"});
  loops_ = loops;
  end_tag("endset");
  return made;
}

void Parser::parameters(Statement& owner) {
  stream_.expect_operator("(");
  while (!stream_.current().is_operator(")")) {
    owner.parameters.push_back(stream_.expect_name());
    if (stream_.skip_operator("=")) {
      owner.defaults.push_back(expressions_.expression());
    } else if (!owner.defaults.empty()) {
      fail("a parameter without a default behind one with a default", stream_.current().line);
    }
    if (!stream_.skip_operator(",")) break;
  }
  stream_.expect_operator(")");
}

StatementPtr Parser::macro_tag() {
  StatementPtr made = statement(Statement::kMacro, stream_.next().line);
  made->text = stream_.expect_name();
  parameters(*made);
  end_of_tag();
  const size_t begin = stream_.position();
  const int loops = std::exchange(loops_, 0);
  made->body = body({"endmacro"});
  loops_ = loops;
  for (const std::string_view special : {"varargs", "kwargs"}) {
    if (names(begin, stream_.position(), special)) fail("'" + std::string(special) + "' is not supported", made->line);
  }
  made->uses_caller = names(begin, stream_.position(), "caller");
  end_tag("endmacro");
  return made;
}

StatementPtr Parser::call_tag() {
  StatementPtr made = statement(Statement::kCallBlock, stream_.next().line);
  if (stream_.current().is_operator("(")) parameters(*made);
  made->expression = expressions_.expression();
  if (made->expression->kind != Expression::kCall) fail("expected a call behind 'call'", made->line);
  end_of_tag();
  const int loops = std::exchange(loops_, 0);
  made->body = body({"endcall"});
  loops_ = loops;
  end_tag("endcall");
  return made;
}

StatementPtr Parser::filter_tag() {
  StatementPtr made = statement(Statement::kFilterBlock, stream_.next().line);
  made->expression = expressions_.filter_chain_from_name();
  end_of_tag();
  const int loops = std::exchange(loops_, 0);
  made->body = body({"endfilter"});
  loops_ = loops;
  end_tag("endfilter");
  return made;
}

StatementPtr Parser::with_tag() {
  StatementPtr made = statement(Statement::kWith, stream_.next().line);
  while (stream_.current().kind != Token::kBlockEnd) {
    Target name = target(false);
    stream_.expect_operator("=");
    made->assignments.emplace_back(std::move(name), expressions_.expression());
    if (!stream_.skip_operator(",")) break;
  }
  end_of_tag();
  made->body = body({"endwith"});
  end_tag("endwith");
  return made;
}

// Marks what the assistant said, for training masks. Here it only opens a scope.
StatementPtr Parser::generation_tag() {
  StatementPtr made = statement(Statement::kScope, stream_.next().line);
  end_of_tag();
  const int loops = std::exchange(loops_, 0);
  made->body = body({"endgeneration"});
  loops_ = loops;
  end_tag("endgeneration");
  return made;
}

StatementPtr Parser::loop_control(Statement::Kind kind) {
  StatementPtr made = statement(kind, stream_.current().line);
  const std::string name = stream_.next().text;
  if (loops_ == 0) fail("'" + name + "' outside of a loop", made->line);
  end_of_tag();
  return made;
}

}  // namespace

Block parse_template(std::string_view source) { return Parser(source).run(); }

}  // namespace graft::text::jinja
