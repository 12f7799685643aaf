#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace graft::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

// One node of an expression. Which fields hold what is said by the kind.
struct Expression {
  enum Kind {
    kConstant,     // value
    kName,         // name
    kList,         // operands
    kTuple,        // operands
    kDict,         // operands: key, value, key, value...
    kAttribute,    // operands[0].name
    kSubscript,    // operands[0][operands[1]]
    kSlice,        // operands[0][operands[1]:operands[2]:operands[3]], null where left out
    kCall,         // operands[0](operands[1]..., keywords)
    kFilter,       // operands[0] | name(operands[1]..., keywords); operands[0] null: what a filter block holds
    kTest,         // operands[0] is name(operands[1]..., keywords)
    kUnary,        // name: not, -, +
    kBinary,       // name: + - * / // % **
    kConcat,       // operands joined with ~
    kComparison,   // operands[0] names[0] operands[1] names[1] operands[2]...: a chain
    kAnd,          // operands[0] and operands[1]
    kOr,           // operands[0] or operands[1]
    kConditional,  // operands[1] if operands[0] else operands[2], which may be null
  };
  Kind kind = kConstant;
  int line = 0;
  std::string name;
  std::vector<std::string> names;
  Value value;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr more_positional;  // *x of a call, filter or test
  ExpressionPtr more_keywords;    // **x
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

// What is assigned to: a name, an attribute of a namespace, or several of these.
struct Target {
  std::string name;
  std::string attribute;  // of the namespace `name`, where not empty
  std::vector<Target> parts;
  bool unpacks = false;  // into `parts`, which may be one or none
};

struct Statement {
  enum Kind {
    kText,         // text
    kPrint,        // expressions
    kIf,           // branches in order; a null condition is else
    kFor,          // target in expression, condition; body, otherwise
    kSet,          // target = expression
    kSetBlock,     // target = what body prints, through the filters of expression
    kMacro,        // text: name; parameters, defaults; body
    kCallBlock,    // expression: a call; parameters, defaults; body: what caller() prints
    kFilterBlock,  // what body prints, through the filters of expression
    kWith,         // targets and values in assignments; body
    kScope,        // body, with names of its own
    kGeneration,   // body, with names of its own, as what the assistant said
    kBlock,        // body, which sees the template's own names only
    kBreak,
    kContinue,
  };
  struct Branch {
    ExpressionPtr condition;
    Block body;
  };
  Kind kind = kText;
  int line = 0;
  std::string text;
  Target target;
  ExpressionPtr expression;
  std::vector<ExpressionPtr> expressions;
  ExpressionPtr condition;
  Block body;
  Block otherwise;
  std::vector<Branch> branches;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  bool recursive = false;    // kFor: loop(items) runs it again
  bool uses_loop = false;    // kFor: the body names the variable `loop`
  bool uses_caller = false;  // kMacro, kCallBlock: the body names `caller`, and so on
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

}  // namespace graft::text::jinja
