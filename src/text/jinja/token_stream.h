#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/failure.h"
#include "text/jinja/lexer.h"
#include "text/jinja/limits.h"

namespace graft::text::jinja {

// The tokens of a template, read one by one.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  [[nodiscard]] const Token& current() const { return tokens_[at_]; }
  [[nodiscard]] const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  [[nodiscard]] size_t position() const { return at_; }
  [[nodiscard]] const Token& at(size_t position) const { return tokens_[position]; }

  Token next() {
    Token token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool skip_operator(std::string_view op) {
    if (!current().is_operator(op)) return false;
    next();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!current().is_name(name)) return false;
    next();
    return true;
  }
  void expect_operator(std::string_view op) {
    if (!skip_operator(op)) unexpected("'" + std::string(op) + "'");
  }
  std::string expect_name() {
    if (current().kind != Token::kName) unexpected("a name");
    return next().text;
  }
  void expect(Token::Kind kind, const char* what) {
    if (current().kind != kind) unexpected(what);
    next();
  }
  [[noreturn]] void unexpected(const std::string& wanted) const {
    fail("expected " + wanted + ", found " + shown(current()), current().line);
  }

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

// Counts nesting, which is recursion here.
class Nesting {
 public:
  Nesting(int& depth, int line) : depth_(depth) {
    if (++depth_ > kDeepestSyntax) {
      --depth_;
      fail("nested deeper than " + std::to_string(kDeepestSyntax) + " levels", line);
    }
  }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

}  // namespace graft::text::jinja
