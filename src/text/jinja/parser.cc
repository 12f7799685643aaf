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
  [[nodiscard]] bool marks_generation() const { return marks_generation_; }

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
  StatementPtr block_tag();
  StatementPtr autoescape_tag();
  StatementPtr print_tag();
  StatementPtr loop_control(Statement::Kind kind);

  Target target(bool may_be_attribute);
  Target one_target(bool may_be_attribute);
  [[nodiscard]] bool at_target_end() const;
  // A body whose tags `break` and `continue` do not reach loops around it.
  Block own_body(std::initializer_list<std::string_view> ends);
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

  // Which of the special names the body of a macro uses: its parameters of those names aside.
  void note_special_names(Statement& macro, size_t begin) const;

  int depth_ = 0;
  int loops_ = 0;  // around the present place, within the same macro
  TokenStream stream_;
  ExpressionParser expressions_;
  std::vector<std::string> blocks_;
  bool marks_generation_ = false;
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
  made->expressions.push_back(expressions_.tuple());
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
  if (token.is_name("block")) return block_tag();
  if (token.is_name("autoescape")) return autoescape_tag();
  if (token.is_name("print")) return print_tag();
  if (token.is_name("break")) return loop_control(Statement::kBreak);
  if (token.is_name("continue")) return loop_control(Statement::kContinue);
  if (token.kind != Token::kName) stream_.unexpected("a tag's name");
  for (const std::string_view loads : {"include", "import", "from", "extends"}) {
    if (token.text == loads) fail("tag '" + token.text + "' is refused: a chat template is one file", token.line);
  }
  for (const std::string_view known : {"do", "trans", "debug"}) {
    if (token.text == known) fail("tag '" + token.text + "' is not part of chat templates", token.line);
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

bool Parser::at_target_end() const {
  const Token& token = stream_.current();
  return token.is_operator(")") || token.kind == Token::kBlockEnd;
}

Target Parser::one_target(bool may_be_attribute) {
  const Nesting nesting(depth_, stream_.current().line);
  if (stream_.skip_operator("(")) {
    Target inner;
    if (stream_.current().is_operator(")")) {
      inner.unpacks = true;
    } else {
      inner = target(false);
    }
    stream_.expect_operator(")");
    return inner;
  }
  Target made;
  made.name = stream_.expect_name();
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (made.name == constant) fail("cannot assign to '" + made.name + "'", stream_.current().line);
  }
  if (may_be_attribute && stream_.skip_operator(".")) made.attribute = stream_.expect_name();
  return made;
}

// a | a, b | (a, (b, c)) | namespace.a
Target Parser::target(bool may_be_attribute) {
  Target first = one_target(may_be_attribute);
  if (!stream_.current().is_operator(",")) return first;
  Target made;
  made.unpacks = true;
  made.parts.push_back(std::move(first));
  while (stream_.skip_operator(",")) {
    if (at_target_end()) break;
    made.parts.push_back(one_target(may_be_attribute));
  }
  return made;
}

bool names_loop(const Target& target) {
  return target.name == "loop" || std::any_of(target.parts.begin(), target.parts.end(), names_loop);
}

StatementPtr Parser::for_tag() {
  StatementPtr made = statement(Statement::kFor, stream_.next().line);
  made->target = target(false);
  if (names_loop(made->target)) fail("cannot assign to 'loop' in a loop", made->line);
  if (!stream_.skip_name("in")) stream_.unexpected("'in'");
  made->expression = expressions_.tuple(false);
  if (stream_.skip_name("if")) made->condition = expressions_.expression();
  made->recursive = stream_.skip_name("recursive");
  end_of_tag();
  const size_t begin = stream_.position();
  ++loops_;
  made->body = body({"else", "endfor"});
  --loops_;
  made->uses_loop = made->recursive || names(begin, stream_.position(), "loop");
  if (stream_.skip_name("else")) {
    end_of_tag();
    made->otherwise = body({"endfor"});
  }
  end_tag("endfor");
  return made;
}

Block Parser::own_body(std::initializer_list<std::string_view> ends) {
  const int loops = std::exchange(loops_, 0);
  Block block = body(ends);
  loops_ = loops;
  return block;
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
  made->body = own_body({"endset"});
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

void Parser::note_special_names(Statement& macro, size_t begin) const {
  const auto uses = [&](const char* name) {
    const auto& given = macro.parameters;
    return names(begin, stream_.position(), name) && std::find(given.begin(), given.end(), name) == given.end();
  };
  const auto caller = std::find(macro.parameters.begin(), macro.parameters.end(), "caller") - macro.parameters.begin();
  macro.uses_caller = names(begin, stream_.position(), "caller");
  macro.uses_varargs = uses("varargs");
  macro.uses_kwargs = uses("kwargs");
  const auto without_default = static_cast<std::ptrdiff_t>(macro.parameters.size() - macro.defaults.size());
  if (macro.uses_caller && caller < without_default) {
    fail("the parameter 'caller' of a macro must have a default", macro.line);
  }
}

StatementPtr Parser::macro_tag() {
  StatementPtr made = statement(Statement::kMacro, stream_.next().line);
  made->text = stream_.expect_name();
  parameters(*made);
  end_of_tag();
  const size_t begin = stream_.position();
  made->body = own_body({"endmacro"});
  note_special_names(*made, begin);
  end_tag("endmacro");
  return made;
}

StatementPtr Parser::call_tag() {
  StatementPtr made = statement(Statement::kCallBlock, stream_.next().line);
  if (stream_.current().is_operator("(")) parameters(*made);
  made->expression = expressions_.expression();
  if (made->expression->kind != Expression::kCall) fail("expected a call behind 'call'", made->line);
  end_of_tag();
  const size_t begin = stream_.position();
  made->body = own_body({"endcall"});
  note_special_names(*made, begin);
  end_tag("endcall");
  return made;
}

StatementPtr Parser::filter_tag() {
  StatementPtr made = statement(Statement::kFilterBlock, stream_.next().line);
  made->expression = expressions_.filter_chain_from_name();
  end_of_tag();
  made->body = own_body({"endfilter"});
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

StatementPtr Parser::generation_tag() {
  StatementPtr made = statement(Statement::kGeneration, stream_.next().line);
  end_of_tag();
  marks_generation_ = true;
  made->body = own_body({"endgeneration"});
  end_tag("endgeneration");
  return made;
}

// {% block name %}: as nothing is ever extended, it stands where it is written.
StatementPtr Parser::block_tag() {
  StatementPtr made = statement(Statement::kBlock, stream_.next().line);
  made->text = stream_.expect_name();
  for (const char* option : {"scoped", "required"}) {
    if (stream_.current().is_name(option)) fail("'" + std::string(option) + "' blocks are not supported", made->line);
  }
  if (std::find(blocks_.begin(), blocks_.end(), made->text) != blocks_.end()) {
    fail("block '" + printable(made->text, 60) + "' is defined twice", made->line);
  }
  blocks_.push_back(made->text);
  end_of_tag();
  made->body = own_body({"endblock"});
  stream_.next();
  stream_.skip_name(made->text);
  end_of_tag();
  return made;
}

StatementPtr Parser::autoescape_tag() {
  StatementPtr made = statement(Statement::kScope, stream_.next().line);
  const ExpressionPtr escapes = expressions_.expression();
  if (escapes->kind != Expression::kConstant || escapes->value.truthy()) {
    fail("'autoescape' other than false is not supported", made->line);
  }
  end_of_tag();
  made->body = body({"endautoescape"});
  end_tag("endautoescape");
  return made;
}

StatementPtr Parser::print_tag() {
  StatementPtr made = statement(Statement::kPrint, stream_.next().line);
  while (stream_.current().kind != Token::kBlockEnd) {
    if (!made->expressions.empty()) stream_.expect_operator(",");
    made->expressions.push_back(expressions_.expression());
  }
  end_of_tag();
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

Block parse_template(std::string_view source, bool& marks_generation) {
  Parser parser(source);
  Block block = parser.run();
  marks_generation = parser.marks_generation();
  return block;
}

}  // namespace graft::text::jinja
