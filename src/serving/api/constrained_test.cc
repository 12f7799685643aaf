// response_format over HTTP: the routes, the real engine and a model that says what a test wants.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http_client.h"
#include "serving/api/testing/engine_server.h"

namespace graft::serving::api {
namespace {

using testing::EngineServer;
using ::testing::HasSubstr;

OrderedJson native(const std::string& format, int max_new_tokens = 200) {
  return {{"inputs", "Say:"},
          {"parameters",
           {{"max_new_tokens", max_new_tokens}, {"details", true}, {"response_format", OrderedJson::parse(format)}}}};
}

constexpr const char* kSchema =
    R"({"type":"json_schema","schema":{"type":"object","properties":{"z":{"type":"integer"},"a":{"enum":["x","y"]}},
        "required":["z","a"]}})";

TEST(Constrained, AModelThatWantsToSayAnythingSaysWhatTheSchemaAllows) {
  const EngineServer server(std::make_unique<FakeStepModel>(512, 16));
  const auto answer = server.post("/generate", native(kSchema));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json["details"]["finish_reason"], "eos_token");
  const auto said = OrderedJson::parse(answer.json["generated_text"].get<std::string>());
  EXPECT_TRUE(said["z"].is_number_integer());
  EXPECT_THAT(said["a"], ::testing::AnyOf("x", "y"));
  EXPECT_EQ(said.begin().key(), "z") << "properties come in the order of the schema";
}

TEST(Constrained, WhatFitsIsLeftAsTheModelSaysIt) {
  const std::string text = R"({ "z": 12, "a": "y" })";
  const EngineServer server(scripted_model(text));
  EXPECT_EQ(server.post("/generate", native(kSchema)).json["generated_text"], text);
}

TEST(Constrained, EachRouteTakesEachForm) {
  const auto said = [](const std::string& path, OrderedJson body, const std::string& format) {
    const EngineServer server(scripted_model("maybe"));
    body["response_format"] = OrderedJson::parse(format);
    body["max_tokens"] = 40;
    const auto answer = server.post(path, body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    const auto& choice = answer.json["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "stop");
    return choice.contains("text") ? choice["text"].get<std::string>()
                                   : choice["message"]["content"].get<std::string>();
  };
  const OrderedJson chat = OrderedJson::parse(R"({"messages":[{"role":"user","content":"Yes or no?"}]})");
  const OrderedJson completion{{"prompt", "Yes or no?"}};
  for (const auto& [path, body] : {std::pair("/v1/chat/completions", chat), std::pair("/v1/completions", completion)}) {
    EXPECT_THAT(said(path, body, R"({"type":"regex","pattern":"yes|no"})"), ::testing::AnyOf("yes", "no"));
    EXPECT_THAT(said(path, body, R"({"type":"grammar","grammar":"root ::= \"a\" | \"b\""})"),
                ::testing::AnyOf("a", "b"));
    EXPECT_EQ(said(path, body, R"({"type":"json_schema","json_schema":{"name":"n","strict":true,
                                   "schema":{"const":"x"}}})"),
              "\"x\"");
    EXPECT_EQ(said(path, body, R"({"type":"json_object","schema":{"const":7}})"), "7");
    EXPECT_EQ(said(path, body, R"({"type":"json_object","schema":null})"), "maybe");
    EXPECT_EQ(said(path, body, R"({"type":"text"})"), "maybe");
  }
}

TEST(Constrained, JsonObjectIsAnyJsonObject) {
  const EngineServer server(scripted_model(R"([1, 2]{"a": [1, null, {"b": "c"}]})"));
  const auto answer = server.post("/generate", native(R"({"type":"json_object"})", 40));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json["generated_text"].get<std::string>().front(), '{');
}

TEST(Constrained, AnOutputThatIsCutIsOfReasonLength) {
  const EngineServer server(scripted_model(R"({"z": 123456789, "a": "x"})"));
  const auto answer = server.post("/generate", native(kSchema, 8));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json["details"]["finish_reason"], "length");
  EXPECT_EQ(answer.json["generated_text"], R"({"z": 12)");
}

TEST(Constrained, IgnoringTheEndDoesNotLeadBeyondTheGrammar) {
  const EngineServer server(scripted_model("yes and more"));
  OrderedJson body = native(R"({"type":"regex","pattern":"yes|no"})");
  body["parameters"]["ignore_eos_token"] = true;
  const auto answer = server.post("/generate", body);
  EXPECT_EQ(answer.json["generated_text"], "yes");
  EXPECT_EQ(answer.json["details"]["finish_reason"], "eos_token");
}

TEST(Constrained, AStopSequenceStillStops) {
  const EngineServer server(scripted_model(R"({"z": 1, "a": "x"})"));
  OrderedJson body = native(kSchema);
  body["parameters"]["stop"] = {","};
  const auto answer = server.post("/generate", body);
  EXPECT_EQ(answer.json["generated_text"], R"({"z": 1,)");
  EXPECT_EQ(answer.json["details"]["finish_reason"], "stop_sequence");
}

TEST(Constrained, SamplingAndPenaltiesStayWithinTheGrammar) {
  const EngineServer server(std::make_unique<FakeStepModel>(512, 16));
  for (int seed = 0; seed < 20; ++seed) {
    OrderedJson body = native(R"({"type":"regex","pattern":"(ab|cd){2}e"})");
    body["parameters"].update(
        {{"do_sample", true}, {"temperature", 1.5}, {"top_k", 3}, {"repetition_penalty", 1.3}, {"seed", seed}});
    const auto answer = server.post("/generate", body);
    EXPECT_THAT(answer.json["generated_text"].get<std::string>(), ::testing::AnyOf("ababe", "abcde", "cdabe", "cdcde"));
  }
}

TEST(Constrained, AnOutputThatFailsTheFinalCheckIsAFailure) {
  const std::string format = R"({"type":"json_schema","schema":{"type":"number","multipleOf":0.5}})";
  const EngineServer server(scripted_model("1.2"));
  const auto answer = server.post("/generate", native(format));
  EXPECT_EQ(answer.status, 424);
  EXPECT_EQ(answer.json["error"],
            "Request failed during generation: the output does not fit the schema: at the top: `multipleOf`");
  const EngineServer again(scripted_model("1.2"));
  const auto stream = again.post("/generate_stream", native(format));
  EXPECT_EQ(stream.status, 200);
  EXPECT_THAT(stream.events.back(), HasSubstr("`multipleOf`"));
}

TEST(Constrained, LogprobsAreTheModelsOwn) {
  const auto logprobs = [](OrderedJson body) {
    const EngineServer server(scripted_model("yes"));
    body["parameters"]["details"] = true;
    OrderedJson out = OrderedJson::array();
    for (const auto& token : server.post("/generate", body).json["details"]["tokens"]) out.push_back(token["logprob"]);
    return out;
  };
  OrderedJson free{{"inputs", "Say:"}, {"parameters", {{"max_new_tokens", 10}}}};
  EXPECT_EQ(logprobs(native(R"({"type":"regex","pattern":"yes|no"})")), logprobs(free));
}

TEST(Constrained, ManyAtOnceAreEachAsAlone) {
  const auto body = [](int i) {
    OrderedJson request = native(i % 2 == 0 ? kSchema : R"({"type":"regex","pattern":"[a-f]{3,9}"})");
    request["inputs"] = "Request " + std::to_string(i);
    return request;
  };
  std::vector<std::string> alone;
  for (int i = 0; i < 12; ++i) {
    const EngineServer server(std::make_unique<FakeStepModel>(512, 16));
    alone.push_back(server.post("/generate", body(i)).body);
  }
  // A cache so small that sequences are preempted.
  const EngineServer server(std::make_unique<FakeStepModel>(20, 16));
  std::vector<std::string> together(alone.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < alone.size(); ++i) {
    clients.emplace_back([&, i] { together[i] = server.post("/generate", body(static_cast<int>(i))).body; });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(together, alone);
}

TEST(Constrained, SpeculationChangesNothing) {
  const std::string text = R"(["abcabc", "abcabc", "abcabd", "abcabc", 1, "abcabc", "abcabc"])";
  const std::string format =
      R"({"type":"json_schema","schema":{"type":"array","items":{"enum":["abcabc","abcabd",1]},"maxItems":12}})";
  EngineLimits limits;
  limits.speculative_tokens = 8;
  const EngineServer plain(scripted_model(text));
  const EngineServer speculating(scripted_model(text), testing::tiny_template(), limits);
  const auto expected = plain.post("/generate", native(format));
  const auto answer = speculating.post("/generate", native(format));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json["generated_text"], text);
  EXPECT_EQ(answer.body, expected.body);
  EXPECT_GT(speculating.stats().drafted_tokens, 0U);
}

}  // namespace
}  // namespace graft::serving::api
