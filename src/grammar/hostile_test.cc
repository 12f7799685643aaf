// Grammars that mean harm: each is compiled within its bounds, or refused with a reason.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "grammar/compiler.h"
#include "grammar/test_tokenizer.h"
#include "grammar/work_budget.h"

namespace graft::grammar {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

class Hostile : public ::testing::Test {
 protected:
  // On the compiler's own thread, with its deep stack.
  Compiler::Outcome outcome(GrammarKind kind, std::string text) {
    return compile_and_wait(*compiler_, {kind, std::move(text)});
  }
  std::string refusal(GrammarKind kind, std::string text) {
    const auto result = outcome(kind, std::move(text));
    return result.ok() ? "compiled" : result.error().message;
  }
  static CompilerOptions options() {
    CompilerOptions options;
    options.limits.compile_time = milliseconds(300);
    return options;
  }
  TestModel model_;
  std::unique_ptr<Compiler> compiler_ = Compiler::create([this] { return model_.vocabulary; }, options());
};

TEST_F(Hostile, DepthIsBounded) {
  EXPECT_THAT(refusal(GrammarKind::kJsonSchema, repeated(R"({"items":)", 10'000) + "{}" + repeated("}", 10'000)),
              HasSubstr("nested deeper"));
  EXPECT_THAT(refusal(GrammarKind::kJsonSchema, repeated(R"({"items":)", 60) + "{}" + repeated("}", 60)),
              HasSubstr("nested deeper than 48 levels"));
  EXPECT_THAT(refusal(GrammarKind::kRegex, repeated("(", 10'000) + repeated(")", 10'000)), HasSubstr("too deep"));
  EXPECT_THAT(refusal(GrammarKind::kEbnf, "root ::= " + repeated("(", 10'000) + "\"a\"" + repeated(")", 10'000)),
              HasSubstr("too deep"));
}

TEST_F(Hostile, SizeIsBounded) {
  EXPECT_THAT(refusal(GrammarKind::kRegex, std::string(200'000, 'a')), HasSubstr("at most 131072 are allowed"));
  std::string values = "0";
  for (int i = 1; i < 25'000; ++i) values += "," + std::to_string(i % 10);
  EXPECT_THAT(refusal(GrammarKind::kJsonSchema, "{\"enum\":[" + values + "]}"), HasSubstr("too large"));
  // One schema says twice what another says twice what ...: 2^40 of them.
  std::string definitions = R"("a0":{"type":"object","properties":{"x":{"type":"integer"}}})";
  for (int i = 1; i <= 40; ++i) {
    const std::string before = "{\"$ref\":\"#/$defs/a" + std::to_string(i - 1) + "\",\"minProperties\":1}";
    definitions += ",\"a" + std::to_string(i) + "\":{\"properties\":{\"l\":" + before + ",\"r\":" + before + "}}";
  }
  EXPECT_THAT(refusal(GrammarKind::kJsonSchema, "{\"$defs\":{" + definitions + "},\"$ref\":\"#/$defs/a40\"}"),
              ::testing::AnyOf(HasSubstr("too large"), HasSubstr("too long"), HasSubstr("nested deeper")));
}

TEST_F(Hostile, TimeIsBounded) {
  // Each may compile where the machine is fast; none may take much longer than its budget.
  const std::vector<std::pair<GrammarKind, std::string>> specs = {
      {GrammarKind::kRegex, "(a|b)*a(a|b){18}c"},  // 2^18 states when made deterministic
      {GrammarKind::kRegex, repeated("(a?|b?)", 300)},
      {GrammarKind::kRegex, "((a{1,90}){1,90}){1,12}"},
      {GrammarKind::kRegex, "(a*)*(a*)*(a*)*b"},
      {GrammarKind::kJsonSchema, R"({"type":"string","pattern":"^(([a-z])+.)+[A-Z]([a-z])+$"})"},
      {GrammarKind::kJsonSchema,
       R"({"type":"array","items":{"type":"array","items":{"type":"string","maxLength":256},"maxItems":90000},"minItems":90000})"},
      {GrammarKind::kEbnf, "root ::= root root | \"a\""},
      {GrammarKind::kEbnf, "root ::= a a a a a a\na ::= a a | \"x\" | \"\""},
      {GrammarKind::kEbnf, "root ::= \"a\"{50000}"}};
  for (const auto& [kind, text] : specs) {
    const auto began = std::chrono::steady_clock::now();
    const auto result = outcome(kind, text);
    const auto took = std::chrono::steady_clock::now() - began;
    std::printf("%-60.60s %6ld ms %s\n", text.c_str(), static_cast<long>(took / milliseconds(1)),
                result.ok() ? "compiled" : result.error().message.c_str());
    if (!result.ok()) {
      EXPECT_EQ(result.error().kind, ErrorKind::kInvalid) << text;
      continue;
    }
    // Masks are bounded too: an output ends, or is given up with a reason.
    const auto matcher = (*result)->matcher();
    for (int i = 0; i < 200 && !matcher->ended(); ++i) {
      const auto mask = matcher->mask();
      if (!mask.ok()) {
        EXPECT_THAT(mask.error().message, HasSubstr("takes too long"));
        break;
      }
      int32_t id = 0;
      while (id <= kTestEnd && !allows(*mask, id)) ++id;
      ASSERT_LE(id, kTestEnd) << text << ": nothing is allowed";
      if (!matcher->accept(id).ok()) break;
    }
  }
}

TEST_F(Hostile, ManyRulesInARowDoNotOverflowTheStack) {
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 6000; ++i) chain += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + "\n";
  chain += "r6000 ::= \"a\"\n";
  const auto result = outcome(GrammarKind::kEbnf, chain);
  if (result.ok()) {
    EXPECT_TRUE(accepts(**result, "a"));
  } else {
    EXPECT_EQ(result.error().kind, ErrorKind::kInvalid);
  }
}

TEST_F(Hostile, SchemasOfEveryOtherShapeAreAnErrorAndNoCrash) {
  for (const char* text : {R"({"enum":5})",
                           R"({"required":{}})",
                           R"({"required":[5]})",
                           R"({"minLength":"3","enum":["a"]})",
                           R"({"allOf":{}})",
                           R"({"anyOf":[]})",
                           R"({"anyOf":5})",
                           R"({"$ref":5})",
                           R"({"$ref":"#/x~2"})",
                           R"({"items":7})",
                           R"({"prefixItems":7})",
                           R"({"properties":{"a":7}})",
                           R"({"patternProperties":7})",
                           R"({"type":[]})",
                           R"({"type":["string",5]})",
                           R"({"maximum":"a","type":"number"})",
                           R"({"additionalProperties":7})",
                           R"({"propertyNames":7})",
                           R"({"minItems":-1,"type":"array"})",
                           R"({"maxItems":1.5,"type":"array"})",
                           R"({"allOf":[5]})",
                           R"({"anyOf":[{"$ref":"#"}]})",
                           R"({"properties":{"\u0000":{"const":"\u0000\ud800"}}})",
                           "\xFF",
                           "null",
                           "[]",
                           ""}) {
    const auto result = outcome(GrammarKind::kJsonSchema, text);
    if (!result.ok()) {
      EXPECT_EQ(result.error().kind, ErrorKind::kInvalid) << text;
    }
  }
}

// Valid schemas with a few bytes changed.
TEST_F(Hostile, MutatedSchemasDoNotCrash) {
  const std::string schema =
      R"({"type":"object","properties":{"a":{"type":"string","pattern":"^[a-z]{2,5}$"},"b":{"$ref":"#/$defs/c"},)"
      R"("n":{"type":"integer","minimum":-5,"maximum":500}},"required":["a"],"$defs":{"c":{"anyOf":[{"type":"null"},)"
      R"({"type":"array","items":{"enum":["x","é",1.5]},"minItems":1,"maxItems":3}]}}})";
  std::mt19937 random(11);
  const std::string letters = "{}[]\":,0159-ae.\\$#/ntru";
  size_t compiled = 0;
  for (int i = 0; i < 600; ++i) {
    std::string text = schema;
    for (int j = 0; j < 1 + i % 4; ++j) text[random() % text.size()] = letters[random() % letters.size()];
    const auto result = outcome(GrammarKind::kJsonSchema, text);
    compiled += result.ok() ? 1 : 0;
    if (!result.ok()) {
      EXPECT_EQ(result.error().kind, ErrorKind::kInvalid) << text << result.error().message;
    }
  }
  EXPECT_GT(compiled, 30U);
}

TEST(WorkBudget, EndsWorkThatGoesOn) {
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THROW(
      {
        const WorkBudget budget(milliseconds(20));
        while (std::chrono::steady_clock::now() - began < std::chrono::seconds(60)) checkpoint();
      },
      BudgetExceeded);
  for (int i = 0; i < 10'000; ++i) checkpoint();  // without a budget nothing happens
}

}  // namespace
}  // namespace graft::grammar
