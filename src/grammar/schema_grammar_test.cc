// JSON Schemas against the package jsonschema: the validator's verdicts, and outputs drawn through masks.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "grammar/schema.h"
#include "grammar/schema_validator.h"
#include "grammar/test_tokenizer.h"
#include "text/oracle.h"

namespace graft::grammar {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using text::testing::read_lines;
using text::testing::run_oracle;

class SchemaOracle : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestDirectory;
    run_oracle("tests.oracles.schema_cases", "cases", folder_->path());
    cases_ = new std::vector<ordered_json>(read_lines(*folder_ / "cases.jsonl"));
  }
  static void TearDownTestSuite() {
    delete cases_;
    delete folder_;
  }
  static inline TestDirectory* folder_ = nullptr;
  static inline std::vector<ordered_json>* cases_ = nullptr;
  TestModel model_;
};

TEST_F(SchemaOracle, TheValidatorAgreesWithJsonschema) {
  size_t count = 0;
  size_t valid = 0;
  for (const auto& one : *cases_) {
    const SchemaValidator validator(one["schema"]);
    for (const auto& value : one["values"]) {
      const Status status = validator.validate_text(value["value"].dump());
      EXPECT_EQ(status.ok(), value["valid"].get<bool>()) << one["schema"] << "\n"
                                                         << value["value"] << "\n"
                                                         << (status.ok() ? "" : status.error().message);
      ++count;
      valid += value["valid"].get<bool>() ? 1 : 0;
    }
  }
  EXPECT_GE(count, 5000U);
  EXPECT_GE(valid, 1000U);
}

// What the grammar alone lets through, so that the final check does not hide anything: schemas with keywords that are
// only checked at the end are left out here.
TEST_F(SchemaOracle, WhatIsDrawnThroughMasksFitsTheSchema) {
  std::mt19937 random(4);
  std::ofstream outputs(*folder_ / "outputs.jsonl");
  size_t compiled = 0;
  size_t refused = 0;
  size_t drawn = 0;
  for (const auto& one : *cases_) {
    const std::string schema = one["schema"].dump();
    const auto grammar = model_.compiled(GrammarKind::kJsonSchema, schema);
    if (!grammar.ok()) {
      EXPECT_THAT(grammar.error().message, HasSubstr("the schema")) << schema;
      ++refused;
      continue;
    }
    ++compiled;
    const bool exact = schema.find("oneOf") == std::string::npos && schema.find("uniqueItems") == std::string::npos &&
                       schema.find("multipleOf") == std::string::npos &&
                       schema.find("patternProperties") == std::string::npos;
    for (int i = 0; i < 6; ++i) {
      const std::string text = draw_output(model_, **grammar, random);
      if (text.empty()) continue;
      const Status fits = (*grammar)->validate(text);
      if (exact) {
        EXPECT_TRUE(fits.ok()) << fits.error().message << "\n" << schema << "\n" << text;
      }
      if (!fits.ok()) continue;
      outputs << ordered_json{{"schema", one["schema"]}, {"text", text}}.dump() << "\n";
      ++drawn;
    }
  }
  outputs.close();
  run_oracle("tests.oracles.schema_cases", "judge", folder_->path());
  std::printf("%zu schemas compiled, %zu refused, %zu outputs\n", compiled, refused, drawn);
  EXPECT_GE(compiled, 300U);
  EXPECT_GE(drawn, 1000U);
}

// Most valid values that list their properties in the schema's order can be said.
TEST_F(SchemaOracle, ValidValuesAreMostlyAccepted) {
  size_t valid = 0;
  size_t accepted = 0;
  for (const auto& one : *cases_) {
    const auto grammar = model_.compiled(GrammarKind::kJsonSchema, one["schema"].dump());
    if (!grammar.ok()) continue;
    for (const auto& value : one["values"]) {
      if (!value["valid"].get<bool>()) {
        const bool said = accepts(**grammar, value["value"].dump());
        EXPECT_TRUE(!said || !(*grammar)->validate(value["value"].dump()).ok());
        continue;
      }
      ++valid;
      accepted += accepts(**grammar, value["value"].dump()) ? 1 : 0;
    }
  }
  std::printf("%zu of %zu valid values accepted\n", accepted, valid);
  EXPECT_GT(accepted * 100, valid * 60);
}

struct Example {
  const char* schema;
  std::vector<const char*> accepted, rejected;
};

TEST(SchemaGrammar, AcceptsWhatTheSchemaSays) {
  const TestModel model;
  const std::vector<Example> examples = {
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"]})",
       {R"({"a":1})", R"({"a": 1, "b": "x"})", "{\n  \"a\": 0\n}"},
       {R"({})", R"({"b":"x"})", R"({"a":1.5})", R"({"a":1,"c":2})", R"({"b":"x","a":1})", R"({"a":01})"}},
      {R"({"enum":["a/b","ü",1,null,[1,2],{"x":true}]})",
       {R"("a/b")", "\"\xC3\xBC\"", "1", "null"},
       {R"("a")", "2", "true"}},
      {R"({"const":"x","type":"integer","enum":[1]})", {}, {}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("abc")", R"("\n\"")", "\"\xC3\xB6\xF0\x9D\x84\x9E\"", R"("\u00e4b")"},
       {R"("a")", R"("abcd")", R"("")", "\"a\tb\""}},
      {R"({"type":"string","pattern":"^[a-c]{2}$"})", {R"("ab")"}, {R"("abc")", R"("a")", R"("ad")"}},
      {R"({"type":"string","pattern":"a+|b"})", {R"("aa")", R"("b")"}, {R"("ab")", R"("")"}},
      {R"({"type":"string","format":"date"})", {R"("2024-02-29")"}, {R"("2024-13-01")", R"("today")"}},
      {R"({"type":"number","minimum":-1,"maximum":2.5})", {"-1", "0.25", "2.5"}, {"-1.5", "2.6", "3"}},
      {R"({"type":"integer","exclusiveMinimum":3,"exclusiveMaximum":6})", {"4", "5"}, {"3", "6", "45"}},
      {R"({"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":2})",
       {"[true]", "[true, false]"},
       {"[]", "[true,false,true]", "[1]"}},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}]})", {R"([1,"a"])"}, {R"([1,"a",2])"}},
      {R"({"anyOf":[{"type":"string"},{"type":"null"}]})", {R"("x")", "null"}, {"1"}},
      {R"({"type":["string","null"]})", {R"("x")", "null"}, {"1"}},
      {R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}}}}})",
       {R"({})", R"({"next":{"next":{}}})"},
       {R"({"next":1})"}},
      {R"({"allOf":[{"$ref":"#/$defs/a"},{"properties":{"y":{"type":"integer"}},"required":["y"]}],
           "$defs":{"a":{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]}}})",
       {R"({"x":1,"y":2})"},
       {R"({"x":1})", R"({"y":1})"}},
      {R"({"type":"object","properties":{"k":{"const":"a"}},"anyOf":[{"required":["k"]}]})",
       {R"({"k":"a"})"},
       {R"({})"}},
      {R"({"type":"object"})", {R"({})", R"({"a":[1,{"b":null}]})"}, {"[]", "1"}},
      {R"({"type":"array"})", {"[]", R"([1,"a"])"}, {"{}"}},
      {R"({})", {"1", R"("x")", "[]", "{}"}, {"", "x"}},
      {R"({"type":"object","additionalProperties":{"type":"integer"},"propertyNames":{"maxLength":2}})",
       {R"({"ab":1})", "{}"},
       {R"({"abc":1})", R"({"a":"x"})"}},
      {R"({"type":"object","required":["a"]})", {R"({"a":1})"}, {"{}"}},
      {R"({"type":"array","items":[{"type":"integer"}],"additionalItems":false})", {"[1]"}, {"[1,2]"}},
  };
  for (const Example& example : examples) {
    const auto grammar = model.compiled(GrammarKind::kJsonSchema, example.schema);
    if (example.accepted.empty()) {
      EXPECT_FALSE(grammar.ok()) << example.schema;
      continue;
    }
    ASSERT_TRUE(grammar.ok()) << example.schema << "\n" << grammar.error().message;
    for (const char* text : example.accepted) {
      EXPECT_TRUE(accepts(**grammar, text)) << example.schema << "\n" << text;
      EXPECT_TRUE((*grammar)->validate(text).ok()) << example.schema << "\n" << text;
    }
    for (const char* text : example.rejected) EXPECT_FALSE(accepts(**grammar, text)) << example.schema << "\n" << text;
  }
}

TEST(SchemaGrammar, WhatAGrammarCannotSayIsCheckedInTheEnd) {
  const TestModel model;
  const auto check = [&](const char* schema, const char* text) {
    const auto grammar = model.compiled(GrammarKind::kJsonSchema, schema);
    EXPECT_TRUE(grammar.ok()) << schema;
    if (!grammar.ok()) return std::string();
    const Status fits = (*grammar)->validate(text);
    return fits.ok() ? std::string("fits") : fits.error().message;
  };
  EXPECT_EQ(check(R"({"type":"number","multipleOf":0.5})", "1.5"), "fits");
  EXPECT_EQ(check(R"({"type":"number","multipleOf":0.5})", "1.2"),
            "the output does not fit the schema: at the top: `multipleOf`");
  EXPECT_EQ(check(R"({"properties":{"a":{"type":"array","uniqueItems":true}}})", R"({"a":[1,1.0]})"),
            "the output does not fit the schema: at /a: `uniqueItems`");
  EXPECT_EQ(check(R"({"type":"string","pattern":"^a*$","maxLength":2})", R"("aaa")"),
            "the output does not fit the schema: at the top: `maxLength`");
  EXPECT_EQ(check(R"({"type":"string","maxLength":300})", ('"' + std::string(301, 'x') + '"').c_str()),
            "the output does not fit the schema: at the top: `maxLength`");
  EXPECT_EQ(check(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "1"),
            "the output does not fit the schema: at the top: `oneOf`");
  EXPECT_EQ(check(R"({})", "[1"), "the output is not valid JSON");
}

TEST(SchemaGrammar, WhatIsNotSupportedIsRefusedWithItsPlace) {
  const TestModel model;
  const std::vector<std::pair<const char*, const char*>> refused = {
      {R"({"properties":{"a":{"not":{"type":"null"}}}})", "the schema at #/properties/a: `not` is not supported"},
      {R"({"if":{},"then":{}})", "the schema at #: `if` is not supported"},
      {R"({"$ref":"http://example.com/s"})", "leads nowhere in this schema"},
      {R"({"$ref":"#/$defs/x"})", "leads nowhere in this schema"},
      {R"({"$ref":"#"})", "leads round in a circle"},
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})", "round in a circle"},
      {R"({"type":"strin"})", "is none of object, array"},
      {R"({"type":7})", "`type` must be a string"},
      {R"({"type":"object","properties":[]})", "`properties` must be an object"},
      {R"({"enum":[]})", "none of its values is allowed"},
      {R"({"enum":["a"],"type":"integer"})", "none of its values is allowed"},
      {R"({"type":"string","pattern":"(?=a)b"})", "look-around and flags are not supported"},
      {R"({"type":"string","pattern":"a("})", "`(` without `)`"},
      {R"({"type":"string","pattern":"(a)\\1"})", "`\\1` is not supported"},
      {R"({"type":"string","minLength":3,"maxLength":2})", "`minLength` is more than `maxLength`"},
      {R"({"type":"string","minLength":-1})", "must be a whole number"},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", "two different `pattern` hold at once"},
      {R"({"allOf":[{"type":"string"},{"type":"null"}]})", "contradict each other in `type`"},
      {R"({"type":"object","required":["a"],"additionalProperties":false})", "which `properties` does not have"},
      {"{", "the schema: not valid JSON"},
      {"3", "must be an object or a boolean"},
      {R"({"type":"object","type":"array"})", "duplicate key"},
      {R"({"type":"integer","minimum":5,"maximum":4})", "the schema"},
  };
  for (const auto& [schema, message] : refused) {
    const auto grammar = model.compiled(GrammarKind::kJsonSchema, schema);
    ASSERT_FALSE(grammar.ok()) << schema;
    EXPECT_EQ(grammar.error().kind, ErrorKind::kInvalid);
    EXPECT_THAT(grammar.error().message, HasSubstr(message)) << schema;
    EXPECT_EQ(grammar.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace graft::grammar
