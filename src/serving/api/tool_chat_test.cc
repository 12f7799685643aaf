// Tools over HTTP: the chat route, the real engine and a model that says what a test wants.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serving/api/testing/engine_server.h"

namespace graft::serving::api {
namespace {

using testing::Answer;
using testing::EngineServer;
using ::testing::HasSubstr;

// As Hermes and Qwen write it.
constexpr const char* kHermesTemplate =
    "{%- if tools %}<|im_start|>system\n# Tools\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "For each function call return <tool_call>\n{\"name\": ..., \"arguments\": ...}\n</tool_call><|im_end|>\n{% endif "
    "%}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{%- for call in message.tool_calls or [] %}\n<tool_call>\n{\"name\": \"{{ call.function.name }}\", \"arguments\": "
    "{{ call.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

constexpr const char* kLlamaTemplate =
    "{%- for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{%- if tools %}Respond in the format {\"name\": function name, \"parameters\": dictionary}.\n"
    "{{ tools | tojson }}\n{% endif %}assistant: ";

constexpr const char* kMistralTemplate =
    "{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "{%- for message in messages %}{%- if message.tool_calls %}[TOOL_CALLS]{{ message.tool_calls | tojson }}"
    "{%- else %}[INST]{{ message.content }}[/INST]{% endif %}{% endfor %}";

std::unique_ptr<text::ChatTemplate> compiled(const char* source) {
  auto result = text::ChatTemplate::compile(source);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return std::move(result).value();
}

OrderedJson tools() {
  return OrderedJson::parse(R"([
    {"type":"function","function":{"name":"weather","description":"The weather","parameters":{"type":"object",
      "properties":{"city":{"$ref":"#/$defs/city"},"days":{"type":"integer","minimum":1,"maximum":9}},
      "required":["city","days"],"$defs":{"city":{"enum":["Bonn","Köln"]}}}}},
    {"type":"function","function":{"name":"now"}}])");
}

OrderedJson chat(OrderedJson more = OrderedJson::object()) {
  OrderedJson body{{"messages", OrderedJson::parse(R"([{"role":"user","content":"How is it?"}])")},
                   {"tools", tools()},
                   {"temperature", 0},
                   {"max_tokens", 400}};
  body.update(more);
  return body;
}

struct Streamed {
  std::string content, finish_reason;
  OrderedJson calls = OrderedJson::array();
};

// Puts a stream together as the openai client does.
Streamed streamed(const Answer& answer) {
  Streamed out;
  EXPECT_EQ(answer.events.back(), "[DONE]");
  for (size_t i = 0; i + 1 < answer.events.size(); ++i) {
    const OrderedJson chunk = answer.event(i);
    const auto& choice = chunk["choices"][0];
    const auto& delta = choice["delta"];
    if (delta.contains("content") && delta["content"].is_string()) out.content += delta["content"].get<std::string>();
    if (choice["finish_reason"].is_string()) out.finish_reason = choice["finish_reason"].get<std::string>();
    if (!delta.contains("tool_calls")) continue;
    const auto& piece = delta["tool_calls"][0];
    const auto index = piece["index"].get<size_t>();
    if (piece.contains("id")) {
      EXPECT_EQ(index, out.calls.size());
      EXPECT_EQ(piece["type"], "function");
      out.calls.push_back({{"name", piece["function"]["name"]}, {"arguments", ""}});
    }
    out.calls[index]["arguments"].get_ref<std::string&>() += piece["function"]["arguments"].get<std::string>();
  }
  return out;
}

TEST(ToolChat, ACallIsFoundInWholeAnswersAndInStreams) {
  const std::string said =
      "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"K\xC3\xB6ln\", \"days\": 2}}\n"
      "</tool_call>\n<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
  const EngineServer server(scripted_model(said), compiled(kHermesTemplate));
  const auto answer = server.post("/v1/chat/completions", chat());
  ASSERT_EQ(answer.status, 200) << answer.body;
  const auto& choice = answer.json["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "Let me see.");
  const auto& calls = choice["message"]["tool_calls"];
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[0]["type"], "function");
  EXPECT_EQ(calls[0]["function"]["name"], "weather");
  EXPECT_EQ(calls[0]["function"]["arguments"], "{\"city\": \"K\xC3\xB6ln\", \"days\": 2}");
  EXPECT_EQ(calls[1]["function"]["name"], "now");
  EXPECT_THAT(calls[0]["id"].get<std::string>(), ::testing::StartsWith("call_"));
  EXPECT_NE(calls[0]["id"], calls[1]["id"]);

  const EngineServer again(scripted_model(said), compiled(kHermesTemplate));
  const Streamed stream = streamed(again.post("/v1/chat/completions", chat({{"stream", true}})));
  EXPECT_EQ(stream.content, "Let me see.");
  EXPECT_EQ(stream.finish_reason, "tool_calls");
  ASSERT_EQ(stream.calls.size(), 2U);
  EXPECT_EQ(stream.calls[0]["arguments"], calls[0]["function"]["arguments"]);
  EXPECT_EQ(stream.calls[1]["arguments"], "{}");
}

TEST(ToolChat, AnAnswerWithoutACallIsText) {
  const EngineServer server(scripted_model("It is  fine. "), compiled(kHermesTemplate));
  const auto choice = server.post("/v1/chat/completions", chat()).json["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "It is  fine. ");
  EXPECT_FALSE(choice["message"].contains("tool_calls"));
  EXPECT_EQ(choice["finish_reason"], "stop");
  const EngineServer again(scripted_model("It is  fine. "), compiled(kHermesTemplate));
  const Streamed stream = streamed(again.post("/v1/chat/completions", chat({{"stream", true}, {"logprobs", true}})));
  EXPECT_EQ(stream.content, "It is  fine. ");
  EXPECT_EQ(stream.finish_reason, "stop");
}

TEST(ToolChat, ARequiredCallIsMadeWhateverTheModelWantsToSay) {
  const OrderedJson named{{"type", "function"}, {"function", {{"name", "weather"}}}};
  for (const char* source : {kHermesTemplate, kLlamaTemplate, kMistralTemplate}) {
    for (const OrderedJson& choice : {OrderedJson("required"), named}) {
      for (const bool stream : {false, true}) {
        const EngineServer server(std::make_unique<FakeStepModel>(512, 16), compiled(source));
        const auto answer = server.post("/v1/chat/completions", chat({{"tool_choice", choice}, {"stream", stream}}));
        ASSERT_EQ(answer.status, 200) << answer.body;
        OrderedJson call;
        if (stream) {
          const Streamed all = streamed(answer);
          ASSERT_GE(all.calls.size(), 1U) << answer.body;
          EXPECT_EQ(all.finish_reason, "tool_calls");
          EXPECT_EQ(all.content, "");
          call = all.calls[0];
        } else {
          const auto& message = answer.json["choices"][0]["message"];
          ASSERT_TRUE(message.contains("tool_calls")) << answer.body;
          EXPECT_TRUE(message["content"].is_null());
          EXPECT_EQ(answer.json["choices"][0]["finish_reason"], "tool_calls");
          call = message["tool_calls"][0]["function"];
        }
        const auto arguments = OrderedJson::parse(call["arguments"].get<std::string>());
        if (choice.is_object()) {
          EXPECT_EQ(call["name"], "weather");
        }
        if (call["name"] == "weather") {
          EXPECT_THAT(arguments["city"], ::testing::AnyOf("Bonn", "K\xC3\xB6ln"));
          EXPECT_THAT(arguments["days"].get<int>(), ::testing::AllOf(::testing::Ge(1), ::testing::Le(9)));
        } else {
          EXPECT_EQ(arguments, OrderedJson::object()) << "a function without parameters takes none";
        }
      }
    }
  }
}

TEST(ToolChat, ACallThatIsCutIsOfReasonLength) {
  const EngineServer server(std::make_unique<FakeStepModel>(512, 16), compiled(kHermesTemplate));
  const auto answer = server.post("/v1/chat/completions", chat({{"tool_choice", "required"}, {"max_tokens", 4}}));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json["choices"][0]["finish_reason"], "length");
}

// The prompt that the template makes, which an answer can be asked to repeat: a template that prints it is enough.
std::string error_of_template(const OrderedJson& body, const std::string& source) {
  const EngineServer server(scripted_model("x"), compiled(source.c_str()));
  const auto answer = server.post("/v1/chat/completions", body);
  return answer.json.contains("error") ? answer.json["error"]["message"].get<std::string>() : "no error";
}

TEST(ToolChat, ConversationsReachTheTemplateAsTransformersHasThem) {
  const std::string show = "{{ raise_exception(messages | tojson) }}";
  const auto body = chat({{"messages", OrderedJson::parse(R"([
      {"role":"user","content":"Weather?"},
      {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function",
        "function":{"name":"weather","arguments":"{\"days\": 2, \"city\": \"Bonn\"}"}}]},
      {"role":"tool","tool_call_id":"call_1","name":"weather","content":"sun"}])")},
                          {"tool_choice", "none"}});
  EXPECT_EQ(OrderedJson::parse(error_of_template(body, show)), OrderedJson::parse(R"([
      {"role":"user","content":"Weather?"},
      {"role":"assistant","content":"","tool_calls":[{"id":"call_1","type":"function",
        "function":{"name":"weather","arguments":{"days":2,"city":"Bonn"}}}]},
      {"role":"tool","content":"sun","tool_call_id":"call_1","name":"weather"}])"));
  // A template that puts the text together gets text.
  EXPECT_EQ(error_of_template(body,
                              "{%- for m in messages %}{%- for c in m.tool_calls or [] %}"
                              "{{ 'args=' + c.function.arguments }}{% endfor %}{% endfor %}"),
            "no error");
  EXPECT_EQ(
      OrderedJson::parse(error_of_template(chat(),
                                           "{%- if messages[0].content == 'Hello' %}{{ tools | tojson }}{% else %}"
                                           "{{ raise_exception(tools | tojson) }}{% endif %}")),
      tools());
  EXPECT_EQ(error_of_template(chat({{"tool_choice", "none"}}), "{{ raise_exception('' ~ tools) }}"), "None");
  EXPECT_EQ(error_of_template(chat({{"documents", OrderedJson::parse(R"([{"title":"t","text":"x"}])")}}),
                              "{{ raise_exception(documents[0].title) }}"),
            "t");
}

TEST(ToolChat, ATemplateWithoutToolsHasThemInASystemMessage) {
  const std::string show = "{{ raise_exception(messages[0].role ~ messages[0].content) }}";
  EXPECT_THAT(error_of_template(chat(), show), ::testing::AllOf(::testing::StartsWith("system"), HasSubstr("weather")));
  const EngineServer server(scripted_model(R"({"name": "now", "arguments": {}})"));
  const auto answer = server.post("/v1/chat/completions", chat());
  EXPECT_EQ(answer.json["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "now") << answer.body;
}

TEST(ToolChat, WhatIsWrongIsNamed) {
  const EngineServer server(scripted_model("x"), compiled(kHermesTemplate));
  const std::vector<std::tuple<const char*, const char*, const char*>> rules = {
      {R"({"tools":"f"})", "tools", "must be an array, not a string"},
      {R"({"tools":[5]})", "tools[0]", "must be an object, not an integer"},
      {R"({"tools":[{"type":"retrieval"}]})", "tools[0].type", "must be \"function\""},
      {R"({"tools":[{"type":"function"}]})", "tools[0].function", "is missing"},
      {R"({"tools":[{"type":"function","function":{}}]})", "tools[0].function.name", "is missing"},
      {R"({"tools":[{"type":"function","function":{"name":"a","parameters":5}}]})", "tools[0].function.parameters",
       "must be an object"},
      {R"({"tool_choice":"always"})", "tool_choice", "must be none, auto, required"},
      {R"({"tool_choice":{"function":{"name":"x"}}})", "tool_choice", "\"x\", which is not among `tools`"},
      {R"({"tool_choice":{"type":"function"}})", "tool_choice.function", "is missing"},
      {R"({"tools":[],"tool_choice":"required"})", "tool_choice", "there are no `tools`"},
      {R"({"parallel_tool_calls":"no"})", "parallel_tool_calls", "must be a boolean"},
      {R"({"response_format":{"type":"json_object"}})", "response_format", "cannot be combined with `tools`"},
      {R"({"documents":[5]})", "documents[0]", "must be an object"},
      {R"({"tool_choice":"required","tools":[{"type":"function","function":{"name":"a","parameters":{"not":{}}}}]})",
       "tools", "`not` is not supported"},
      {R"({"messages":[{"role":"assistant","tool_calls":5}]})", "messages[0].tool_calls", "must be an array"},
      {R"({"messages":[{"role":"assistant","tool_calls":[{"id":"a"}]}]})", "messages[0].tool_calls[0].function",
       "is missing"}};
  for (const auto& [more, param, message] : rules) {
    const auto answer = server.post("/v1/chat/completions", chat(OrderedJson::parse(more)));
    EXPECT_EQ(answer.status, 400) << more << answer.body;
    EXPECT_EQ(answer.json["error"]["param"], param) << more;
    EXPECT_EQ(answer.json["error"]["type"], "invalid_request_error");
    EXPECT_THAT(answer.json["error"]["message"].get<std::string>(), HasSubstr(message)) << more;
  }
}

}  // namespace
}  // namespace graft::serving::api
