#include "recipe/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft::recipe {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

std::string text_of(const Result<ordered_json>& messages) {
  return messages.ok() ? messages->dump() : "error: " + messages.error().message;
}

std::string messages(const char* json) { return text_of(read_messages(ordered_json::parse(json))); }

std::string sharegpt(const char* json, const ordered_json& system = nullptr) {
  return text_of(read_sharegpt(ordered_json::parse(json), system));
}

TEST(Conversation, MessagesStayAsTheyAre) {
  const char* chat =
      R"([{"role":"system","content":""},{"role":"user","content":"a"},{"role":"assistant","content":"b","weight":1}])";
  EXPECT_EQ(messages(chat), chat);
  EXPECT_EQ(text_of(read_messages(ordered_json(chat))), chat) << "JSON text, as in a cell of a CSV";
}

TEST(Conversation, ArgumentsThatAreJsonTextBecomeObjects) {
  EXPECT_EQ(messages(R"([{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"1","type":"function",
      "function":{"name":"f","arguments":"{\"x\": [1, 2]}"}}]},{"role":"tool","content":""},
      {"role":"assistant","content":"b"}])"),
            R"([{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"1","type":"function",)"
            R"("function":{"name":"f","arguments":{"x":[1,2]}}}]},{"role":"tool","content":""},)"
            R"({"role":"assistant","content":"b"}])");
}

TEST(Conversation, ShareGptBecomesMessages) {
  EXPECT_EQ(sharegpt(R"([{"from":"system","value":"s"},{"from":"human","value":"a"},{"from":"gpt","value":"b"}])"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}])");
  EXPECT_EQ(
      sharegpt(R"([{"from":"user","value":"a"},{"from":"chatgpt","value":"b"}])", "be kind"),
      R"([{"role":"system","content":"be kind"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}])");
  EXPECT_EQ(sharegpt(R"([{"from":"human","value":"a"},
      {"from":"function_call","value":"{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
      {"from":"observation","value":"2"},{"from":"gpt","value":"b"}])"),
            R"([{"role":"user","content":"a"},{"role":"assistant","content":"","tool_calls":[{"type":"function",)"
            R"("function":{"name":"f","arguments":{"x":1}}}]},{"role":"tool","content":"2"},)"
            R"({"role":"assistant","content":"b"}])");
  EXPECT_EQ(sharegpt(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])"),
            R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])");
}

TEST(Conversation, RolesOutOfOrderAreErrorsWithARemedy) {
  const auto refused = [](const char* json, const char* part) { EXPECT_THAT(messages(json), HasSubstr(part)) << json; };
  refused(R"([{"role":"assistant","content":"a"}])", "messages[0]: the assistant speaks first; put the user's message");
  refused(R"([{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"}])",
          "messages[1]: two user messages in a row; put both into one");
  refused(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":"c"}])",
          "messages[2]: two assistant messages in a row");
  refused(R"([{"role":"user","content":"a"},{"role":"system","content":"b"},{"role":"assistant","content":"c"}])",
          "messages[1]: a system message after the first");
  refused(R"([{"role":"user","content":"a"},{"role":"tool","content":"b"},{"role":"assistant","content":"c"}])",
          "messages[1]: a tool message must follow an assistant message with 'tool_calls'");
  refused(R"([{"role":"user","content":"a"},{"role":"asistant","content":"b"}])",
          "messages[1]: role 'asistant' is not known; did you mean 'assistant'?");
  EXPECT_THAT(sharegpt(R"([{"from":"gpt","value":"b"},{"from":"human","value":"a"}])"), HasSubstr("speaks first"));
  EXPECT_THAT(sharegpt(R"([{"from":"humam","value":"b"}])"), HasSubstr("did you mean 'human'?"));
}

TEST(Conversation, WhatTeachesNothingIsAnError) {
  const auto refused = [](const char* json, const char* part) { EXPECT_THAT(messages(json), HasSubstr(part)) << json; };
  refused("[]", "messages: must be a list that is not empty");
  refused("\"\"", "messages: ");
  refused("{}", "messages: must be a list");
  refused(R"(["x"])", "messages[0]: expected an object");
  refused(R"([{"content":"x"}])", "messages[0]: 'role' is missing");
  refused(R"([{"from":"human","value":"x"}])", "name the column conversations");
  refused(R"([{"role":"user"}])", "'content' is missing");
  refused(R"([{"role":"user","content":" "},{"role":"assistant","content":"x"}])", "messages[0]: the content is empty");
  refused(R"([{"role":"user","content":"x"},{"role":"assistant","content":"\n"}])", "the assistant's content is empty");
  refused(R"([{"role":"user","content":"x"}])", "no message of the assistant");
  refused(R"([{"role":"user","content":"x","tool_calls":[{}]}])", "only an assistant message has");
  refused(
      R"([{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}])",
      "messages[1]: tool_calls[0]: 'arguments' is text that is not JSON");
  refused(R"([{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"function":{"arguments":{}}}]}])",
          "tool_calls[0]: the function's 'name' is missing");
  EXPECT_THAT(sharegpt(R"([{"from":"human","value":"a"},{"from":"function_call","value":"call f"}])"),
              HasSubstr("conversations[1]: the function_call is text that is not JSON"));
  EXPECT_THAT(sharegpt(R"([{"from":"system","value":"t"},{"from":"human","value":"a"}])", "s"), HasSubstr("keep one"));
}

}  // namespace
}  // namespace graft::recipe
