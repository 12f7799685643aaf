// The parser against nlohmann's own, which reads the same language but for repeated keys and depth.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace graft {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

void expect_as_library(const std::string& text) {
  const auto ours = parse_ordered_json(text);
  const ordered_json theirs = ordered_json::parse(text, nullptr, false);
  if (!ours.ok() && ours.error().message.find("duplicate key") != std::string::npos) return;
  ASSERT_EQ(ours.ok(), !theirs.is_discarded()) << text;
  if (!ours.ok()) return;
  EXPECT_EQ(ours->dump(), theirs.dump()) << text;
}

TEST(JsonParser, AgreesWithTheLibraryOnEveryKindOfValue) {
  for (const std::string text : {"0",
                                 "-0",
                                 "1",
                                 "-1",
                                 "01",
                                 "-",
                                 "+1",
                                 "1.",
                                 ".5",
                                 "1.5",
                                 "1e5",
                                 "1E+5",
                                 "1e-400",
                                 "1e400",
                                 "-1e400",
                                 "1e",
                                 "18446744073709551615",
                                 "18446744073709551616",
                                 "-9223372036854775808",
                                 "-9223372036854775809",
                                 "0.1",
                                 "123456789012345678901234567890",
                                 "true",
                                 "tru",
                                 "truex",
                                 "null",
                                 "nul",
                                 "false",
                                 "[]",
                                 "[ ]",
                                 "[1,]",
                                 "[,1]",
                                 "[1 2]",
                                 "{}",
                                 "{ }",
                                 "{\"a\"}",
                                 "{\"a\":}",
                                 "{\"a\":1,}",
                                 "{a:1}",
                                 "{\"a\":1 \"b\":2}",
                                 "\"\"",
                                 "\"a",
                                 "\"\\u0041\"",
                                 "\"\\u00e9\\ud83d\\ude00\"",
                                 "\"\\ud83d\"",
                                 "\"\\ud83dx\"",
                                 "\"\\ude00\"",
                                 "\"\\ud83d\\u0041\"",
                                 "\"\\u12\"",
                                 "\"\\u12g4\"",
                                 "\"\\x\"",
                                 "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                                 "\"\n\"",
                                 "\"\x7f\"",
                                 "\"\xc3\xa9\"",
                                 "\"\xff\"",
                                 "\"\xed\xa0\x80\"",
                                 "\"12345678\xc3\xa9"
                                 "12345678\"",
                                 " [1] ",
                                 "[1]]",
                                 "\t\r\n1\n",
                                 "",
                                 " ",
                                 "[[[[{\"a\":[{}]}]]]]",
                                 "nan",
                                 "Infinity",
                                 "\v1",
                                 "/**/1"}) {
    expect_as_library(text);
  }
}

TEST(JsonParser, AgreesWithTheLibraryOnMutatedText) {
  const std::string seed =
      R"({"id":17,"text":"a \"quoted\" caf\u00e9 é 😀 line\n","list":[1,-2.5e3,true,null,{"x":{}}],"n":0.001})";
  std::mt19937 random(11);
  const std::string bytes = "{}[]\",:\\u0123456789.eE+-tfn \n\xc3\xa9\xff";
  for (int i = 0; i < 20000; ++i) {
    std::string text = seed;
    for (int change = 0; change < 1 + i % 4; ++change) text[random() % text.size()] = bytes[random() % bytes.size()];
    if (i % 5 == 0) text.resize(random() % text.size());
    expect_as_library(text);
  }
}

TEST(JsonParser, ErrorsCountLinesFromWhereTheTextStands) {
  EXPECT_THAT(parse_json("{\n\"a\": }").error().message, HasSubstr("line 2, column 6: expected a value near '}'"));
  EXPECT_THAT(parse_json("[1", {.first_line = 40}).error().message, HasSubstr("line 40, column 3: the text ends"));
  EXPECT_THAT(parse_json("{\"a\":1,\n \"a\":2}").error().message, HasSubstr("line 2, column 2: duplicate key 'a'"));
}

TEST(JsonParser, DepthIsBoundedExactly) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(128)).ok());
  EXPECT_FALSE(parse_json(nested(129)).ok());
  EXPECT_TRUE(parse_json(nested(3), {.depth = 3}).ok());
  EXPECT_FALSE(parse_json(nested(4), {.depth = 3}).ok());
}

}  // namespace
}  // namespace graft
