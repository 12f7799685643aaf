#include "serving/api/tool_call_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace graft::serving::api {
namespace {

// Text and calls, in order: "text", then "name(arguments)".
std::vector<std::string> read(ToolFormat format, const std::string& text, bool forced = false,
                              const std::vector<size_t>& cuts = {}) {
  ToolCallStream stream(format, {"f", "g", "weather"}, forced);
  std::vector<std::string> out;
  bool in_call = false;
  const auto take = [&](const ToolEvents& events) {
    for (const ToolEvent& event : events) {
      if (event.kind == ToolEvent::Kind::kArguments) {
        EXPECT_TRUE(in_call);
        out.back().insert(out.back().size() - 1, event.text);
      } else if (event.kind == ToolEvent::Kind::kBegin) {
        out.push_back(event.text + "()");
        in_call = true;
      } else {
        EXPECT_FALSE(event.text.empty());
        if (in_call || out.empty()) out.emplace_back();
        out.back() += event.text;
        in_call = false;
      }
    }
  };
  size_t at = 0;
  for (const size_t cut : cuts) {
    take(stream.push(text.substr(at, cut - at)));
    at = cut;
  }
  take(stream.push(text.substr(at)));
  take(stream.finish());
  return out;
}

struct Case {
  ToolFormat format;
  const char* text;
  std::vector<std::string> expected;
  bool forced = false;
};

const std::vector<Case>& cases() {
  using enum ToolFormat;
  static const std::vector<Case> kCases = {
      {kHermes, "Hello there.", {"Hello there."}},
      {kHermes,
       "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}\"}]}}\n</tool_call>",
       {R"(f({"a": [1, {"b": "}"}]}))"}},
      {kHermes,
       "Let me look.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>\n{\"arguments\": "
       "{\"x\":1}, "
       "\"name\": \"g\"}\n</tool_call>",
       {"Let me look.", "f({})", R"(g({"x":1}))"}},
      {kHermes, "a <tool_ca b </tool_call> < c ", {"a <tool_ca b </tool_call> < c "}},
      {kHermes, "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>", {"unknown({})"}},
      {kHermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}\n</tool_call>", {R"(f({"a": 1}))"}},
      {kHermes, "<tool_call>{\"name\": \"f\"}</tool_call>", {"f({})"}},
      {kHermes, "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>after", {"f({})", "after"}},
      {kHermes, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"\\\"}", {R"(f({"a": "\"}))"}},  // cut off
      {kHermes, "<tool_call>this is no call</tool_call>", {"this is no call</tool_call>"}},
      {kHermes, "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", {R"(f({"a": 1}))"}, true},
      {kHermes, "{\"name\": \"f\", \"arguments\": {}}\n</tool_call>", {"f({})"}, true},
      {kLlama3, "{\"name\": \"weather\", \"parameters\": {\"city\": \"Bonn\"}}", {R"(weather({"city": "Bonn"}))"}},
      {kLlama3, " <|python_tag|>{\"name\": \"f\", \"parameters\": {}}", {"f({})"}},
      {kLlama3,
       "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {\"a\":1}}",
       {"f({})", R"(g({"a":1}))"}},
      {kLlama3, "{\"name\": \"somebody\", \"parameters\": {}}", {R"({"name": "somebody", "parameters": {}})"}},
      {kLlama3, "{\"name\": \"f\", \"age\": 3}", {R"({"name": "f", "age": 3})"}},
      {kLlama3, "{\"a\": 1} and more", {"{\"a\": 1} and more"}},
      {kLlama3, " {broken", {" {broken"}},
      {kLlama3, "It is warm.", {"It is warm."}},
      {kMistral,
       "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
       {R"(f({"a": 1}))", "g({})"}},
      {kMistral, "Text.[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}, \"id\": \"abcdefghi\"}]", {"Text.", "f({})"}},
      {kMistral,
       "[TOOL_CALLS]f[ARGS]{\"a\": {\"b\": 2}}[TOOL_CALLS]g{\"c\": 3}",
       {R"(f({"a": {"b": 2}}))", R"(g({"c": 3}))"}},
      {kMistral,
       "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {}}]",
       {"f({})", "g({})"},
       true},
      {kMistral, "[TOOL] text [", {"[TOOL] text ["}},
      {kJson,
       "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {\"a\": [[]]}}]",
       {"f({})", R"(g({"a": [[]]}))"}},
      {kJson, "{\"arguments\": {\"a\": \"\xC3\xB6\"}, \"name\": \"f\"}", {"f({\"a\": \"\xC3\xB6\"})"}},
      {kJson, "[1, 2, 3]", {"[1, 2, 3]"}},
      {kJson, "", {}},
      {kJson, "  ", {"  "}},
  };
  return kCases;
}

TEST(ToolCallStream, FindsCallsInEachFormat) {
  for (const Case& one : cases()) EXPECT_EQ(read(one.format, one.text, one.forced), one.expected) << one.text;
}

TEST(ToolCallStream, CutsDoNotMatter) {
  std::mt19937 random(5);
  for (const Case& one : cases()) {
    const std::string text = one.text;
    std::vector<size_t> each(text.size());
    for (size_t i = 0; i < text.size(); ++i) each[i] = i;
    EXPECT_EQ(read(one.format, text, one.forced, each), one.expected) << text;
    for (int round = 0; round < 30; ++round) {
      std::vector<size_t> cuts;
      for (size_t i = 1; i < text.size(); ++i) {
        if (random() % 4 == 0) cuts.push_back(i);
      }
      EXPECT_EQ(read(one.format, text, one.forced, cuts), one.expected) << text;
    }
  }
}

TEST(ToolCallStream, ArgumentsAreToldAsTheyCome) {
  ToolCallStream stream(ToolFormat::kHermes, {"f"}, false);
  EXPECT_TRUE(stream.push("<tool_call>{\"name\": \"f\"").empty());
  ToolEvents events = stream.push(", \"arguments\": {\"a\"");
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].text, "f");
  EXPECT_EQ(events[1].text, "{\"a\"");
  events = stream.push(": 1");
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].text, ": 1");
}

TEST(ToolCallStream, AnyTextIsRead) {
  std::mt19937 random(9);
  const std::vector<std::string> pieces = {"<tool_call>",
                                           "</tool_call>",
                                           "[TOOL_CALLS]",
                                           "[ARGS]",
                                           "{",
                                           "}",
                                           "[",
                                           "]",
                                           "\"name\"",
                                           ": ",
                                           "\"f\"",
                                           ",",
                                           "\"arguments\"",
                                           "\\",
                                           "\"",
                                           " ",
                                           "x",
                                           "\n",
                                           "<|python_tag|>",
                                           "null"};
  for (int i = 0; i < 4000; ++i) {
    std::string text;
    for (int j = 0; j < static_cast<int>(random() % 14); ++j) text += pieces[random() % pieces.size()];
    const auto format = static_cast<ToolFormat>(i % 4);
    const bool forced = random() % 4 == 0;
    std::vector<size_t> each(text.size());
    for (size_t k = 0; k < text.size(); ++k) each[k] = k;
    EXPECT_EQ(read(format, text, forced, each), read(format, text, forced)) << text;
  }
}

}  // namespace
}  // namespace graft::serving::api
