#include "recipe/tool_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/philox.h"
#include "base/test_directory.h"
#include "base/test_python.h"

namespace graft::recipe {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

std::string tools(const char* json) {
  const auto read = read_tools(ordered_json::parse(json));
  return read.ok() ? read->dump() : "error: " + read.error().message;
}

TEST(Tools, DefinitionsComeAsListsOrTextBareOrWhole) {
  const char* whole = R"([{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}])";
  EXPECT_EQ(tools(whole), whole);
  EXPECT_EQ(tools(ordered_json(whole).dump().c_str()), whole);
  EXPECT_EQ(tools(R"([{"name":"f","parameters":{"type":"object","properties":{}}}])"), whole);
  for (const char* none : {"null", "[]", "\"\"", "\" \"", "\"[]\"", "\"null\""}) EXPECT_EQ(tools(none), "null") << none;
}

TEST(Tools, WhatIsNoSchemaIsAnErrorThatNamesThePlace) {
  EXPECT_THAT(tools("\"[{\""), HasSubstr("tools: is text that is not JSON"));
  EXPECT_THAT(tools("3"), HasSubstr("tools: must be a list"));
  EXPECT_THAT(tools("[3]"), HasSubstr("tools[0]: expected an object"));
  EXPECT_THAT(tools(R"([{"type":"function"}])"), HasSubstr("tools[0]: 'function' is missing"));
  EXPECT_THAT(tools(R"([{"type":"function","function":{}}])"), HasSubstr("'name' is missing"));
  EXPECT_THAT(
      tools(R"([{"name":"f"},{"name":"g","parameters":{"type":"objct"}}])"),
      HasSubstr("tools[1]: g: 'parameters' is not a valid JSON Schema: /type: 'objct' is no type of JSON Schema; "
                "did you mean 'object'?"));
  EXPECT_THAT(tools(R"([{"name":"g","parameters":{"type":"object","properties":{"a":{"type":"string","enum":1}}}}])"),
              HasSubstr("/properties/a/enum: must be a list"));
  EXPECT_THAT(tools(R"([{"name":"g","parameters":{"type":"object","required":"a"}}])"),
              HasSubstr("/required: must be"));
  EXPECT_THAT(tools(R"([{"name":"g","parameters":{"type":"string"}}])"), HasSubstr("must describe an object"));
  EXPECT_THAT(tools(R"([{"name":"g","parameters":"x"}])"), HasSubstr("must be a JSON Schema: an object"));
}

// Schemas by chance, most of them wrong somewhere.
ordered_json random_schema(PhiloxStream& random, int depth);

ordered_json random_value(PhiloxStream& random, int depth) {
  static const std::vector<ordered_json> kPlain = {nullptr,
                                                   true,
                                                   0,
                                                   1,
                                                   -1,
                                                   2.0,
                                                   2.5,
                                                   0.0,
                                                   "object",
                                                   "string",
                                                   "x",
                                                   ordered_json::array(),
                                                   ordered_json::object(),
                                                   ordered_json::array({"a", "b"}),
                                                   ordered_json::array({"a", "a"}),
                                                   ordered_json::array({"integer", "null"}),
                                                   ordered_json::array({"integer", "integer"}),
                                                   ordered_json::array({1, "a"})};
  const uint64_t kind = depth == 0 ? 0 : random.below(4);
  if (kind == 1) return random_schema(random, depth - 1);
  if (kind == 2) return ordered_json::array({random_schema(random, depth - 1)});
  if (kind == 3) return ordered_json({{"k", random_value(random, depth - 1)}});
  return kPlain[random.below(kPlain.size())];
}

ordered_json random_schema(PhiloxStream& random, int depth) {
  static const std::vector<std::string> kKeywords = {"type",
                                                     "properties",
                                                     "required",
                                                     "items",
                                                     "enum",
                                                     "anyOf",
                                                     "minimum",
                                                     "multipleOf",
                                                     "maxLength",
                                                     "uniqueItems",
                                                     "additionalProperties",
                                                     "patternProperties",
                                                     "description",
                                                     "default",
                                                     "const",
                                                     "unknown",
                                                     "$defs",
                                                     "not",
                                                     "dependentRequired",
                                                     "prefixItems",
                                                     "if",
                                                     "exclusiveMinimum",
                                                     "title",
                                                     "examples",
                                                     "propertyNames"};
  ordered_json schema = ordered_json::object();
  for (uint64_t i = random.below(3); i > 0; --i)
    schema[kKeywords[random.below(kKeywords.size())]] = random_value(random, depth);
  return schema;
}

TEST(Tools, SchemasAreValidWhereJsonschemaSaysSo) {
  TestDirectory directory;
  std::ofstream file(directory / "schemas.jsonl");
  PhiloxStream random(11, 2);
  std::vector<ordered_json> schemas;
  for (int i = 0; i < 4000; ++i) {
    schemas.push_back(random_schema(random, 3));
    file << schemas.back().dump() << "\n";
  }
  file.close();
  // Lists of `items` are older drafts' spelling, which is taken too.
  const std::string answers = run_python(R"(
import json, sys
from jsonschema import Draft202012Validator as draft
from jsonschema.exceptions import SchemaError
def older(schema):
    if isinstance(schema, dict):
        return any(key == 'items' and isinstance(value, list) or older(value) for key, value in schema.items())
    return isinstance(schema, list) and any(map(older, schema))
for line in open(sys.argv[1]):
    schema = json.loads(line)
    if older(schema):
        print('o', end='')
        continue
    try:
        draft.check_schema(schema)
        print('y', end='')
    except SchemaError:
        print('n', end='')
)",
                                         {(directory / "schemas.jsonl").string()});
  ASSERT_EQ(answers.size(), schemas.size()) << answers;
  int valid = 0;
  for (size_t i = 0; i < schemas.size(); ++i) {
    if (answers[i] == 'o') continue;
    EXPECT_EQ(check_json_schema(schemas[i]).ok(), answers[i] == 'y') << schemas[i];
    valid += answers[i] == 'y' ? 1 : 0;
  }
  EXPECT_GT(valid, 1000);
}

}  // namespace
}  // namespace graft::recipe
