// What /v1/completions and /v1/chat/completions share, and their errors.

#include <gmock/gmock.h>

#include <chrono>
#include <set>

#include "serving/api/testing/api_test.h"

namespace graft::serving::api {
namespace {

using testing::Answer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class OpenAi : public testing::ApiTest {
 protected:
  // Greedy unless told otherwise.
  Answer chat(OrderedJson fields = OrderedJson::object()) const {
    OrderedJson body{{"model", "tiny"}, {"messages", {{{"role", "user"}, {"content", "hello"}}}}, {"temperature", 0}};
    body.update(fields);
    return post("/v1/chat/completions", body);
  }
  Answer complete(OrderedJson fields = OrderedJson::object()) const {
    OrderedJson body{{"model", "tiny"}, {"prompt", "hello"}, {"temperature", 0}};
    body.update(fields);
    return post("/v1/completions", body);
  }
};

struct Rule {
  const char* fields;
  const char* param;
  const char* message;
};

class OpenAiRules : public OpenAi, public ::testing::WithParamInterface<Rule> {};

TEST_P(OpenAiRules, AreOpenAiErrorsOnBothRoutes) {
  const OrderedJson fields = OrderedJson::parse(GetParam().fields);
  for (const Answer& answer : {chat(fields), complete(fields)}) {
    EXPECT_EQ(answer.status, 400);
    const auto& error = answer.json["error"];
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], GetParam().param);
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(GetParam().message));
    EXPECT_TRUE(error.contains("code"));
    EXPECT_EQ(error.size(), 4U);
    EXPECT_EQ(answer.json.size(), 1U);
  }
  EXPECT_TRUE(engine_->submitted().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Shared, OpenAiRules,
    ::testing::Values(
        Rule{R"({"model":5})", "model", "must be a string, not an integer"},
        Rule{R"({"temperature":-1})", "temperature", "must be >= 0 and <= 2"},
        Rule{R"({"temperature":2.1})", "temperature", "must be >= 0 and <= 2"},
        Rule{R"({"temperature":"0"})", "temperature", "must be a number, not a string"},
        Rule{R"({"top_p":1.5})", "top_p", "must be >= 0 and <= 1"}, Rule{R"({"n":0})", "n", "must be >= 1. Given: 0"},
        Rule{R"({"n":17})", "n", "must be <= 16. Given: 17"}, Rule{R"({"n":1.5})", "n", "must be an integer"},
        Rule{R"({"max_tokens":-1})", "max_tokens", "must be >= 0. Given: -1"},
        Rule{R"({"max_tokens":100000})", "max_tokens", "this model's context is 512 tokens"},
        Rule{R"({"max_completion_tokens":"5"})", "max_completion_tokens", "must be an integer, not a string"},
        Rule{R"({"stop":5})", "stop", "must be a string or an array of strings, not an integer"},
        Rule{R"({"stop":["a",null]})", "stop", "but item 1 is null"},
        Rule{R"({"stop":["a","b","c","d","e"]})", "stop", "supports up to 4 stop sequences. Given: 5"},
        Rule{R"({"stop":""})", "stop", "cannot hold an empty stop sequence"},
        Rule{R"({"stream":"yes"})", "stream", "must be a boolean, not a string"},
        Rule{R"({"stream_options":{"include_usage":true}})", "stream_options", "when `stream` is true"},
        Rule{R"({"stream":true,"stream_options":{"include_usage":1}})", "stream_options.include_usage",
             "must be a boolean"},
        Rule{R"({"seed":"x"})", "seed", "must be an integer, not a string"},
        Rule{R"({"frequency_penalty":3})", "frequency_penalty", "must be >= -2 and <= 2"},
        Rule{R"({"presence_penalty":-3})", "presence_penalty", "must be >= -2 and <= 2"},
        Rule{R"({"logit_bias":[]})", "logit_bias", "must be an object, not an array"},
        Rule{R"({"logit_bias":{"hello":1}})", "logit_bias", "\"hello\" is no token id"},
        Rule{R"({"logit_bias":{"-1":1}})", "logit_bias", "\"-1\" is no token id"},
        Rule{R"({"logit_bias":{"9999999":1}})", "logit_bias", "\"9999999\" is no token id"},
        Rule{R"({"logit_bias":{"5":101}})", "logit_bias", "must be a number >= -100 and <= 100"},
        Rule{R"({"logit_bias":{"5":"1"}})", "logit_bias", "must be a number >= -100 and <= 100"},
        Rule{R"({"repetition_penalty":0})", "repetition_penalty", "must be strictly positive"},
        Rule{R"({"top_k":0})", "top_k", "must be strictly positive"},
        Rule{R"({"ignore_eos_token":1})", "ignore_eos_token", "must be a boolean"},
        Rule{R"({"model":"a","adapter_source":"s3"})", "adapter_source", "s3 is not available"},
        Rule{R"({"model":"a","adapter_source":"moon"})", "adapter_source", "Given: moon"},
        Rule{R"({"api_token":5})", "api_token", "must be a string"},
        Rule{R"({"functions":[{"name":"f"}]})", "functions", "the older form of `tools`"},
        Rule{R"({"response_format":{"type":"json"}})", "response_format.type", "must be one of text, json_object"},
        Rule{R"({"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"not":{}}}}})",
             "response_format", "the schema at #: `not` is not supported"},
        Rule{R"({"response_format":"text"})", "response_format", "must be an object, not a string"}));

TEST_F(OpenAi, HarmlessExtrasAreAccepted) {
  const auto fields = OrderedJson::parse(R"({"tools":[],"functions":null,"response_format":{"type":"text"},"user":"u",
      "store":false,"metadata":{"a":"b"},"service_tier":"auto","stop":null,"n":null,"logit_bias":null,"seed":null,
      "max_tokens":null,"stream_options":null,"surprise":[1,2]})");
  EXPECT_EQ(chat(fields).status, 200);
  EXPECT_EQ(complete(fields).status, 200);
}

TEST_F(OpenAi, BodiesThatAreNoJsonAreOpenAiErrors) {
  for (const char* path : {"/v1/completions", "/v1/chat/completions"}) {
    const auto answer = send("POST", path, "{\"model\":");
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.json["error"]["type"], "invalid_request_error");
    EXPECT_EQ(send("POST", path, "[]").status, 400);
    EXPECT_EQ(send("GET", path).status, 405);
  }
}

TEST_F(OpenAi, SamplesAtTemperatureOneByDefault) {
  complete({{"temperature", nullptr}});
  EXPECT_FALSE(engine_->last().sampling.greedy);
  EXPECT_EQ(engine_->last().sampling.temperature, 1);
  complete({{"temperature", 0}});
  EXPECT_TRUE(engine_->last().sampling.greedy);
  complete({{"temperature", 0.5}, {"top_p", 0}});
  EXPECT_TRUE(engine_->last().sampling.greedy);
}

TEST_F(OpenAi, ParametersReachTheEngine) {
  complete(OrderedJson::parse(R"({"temperature":0.5,"top_p":0.9,"frequency_penalty":1,"presence_penalty":-1,"seed":-3,
      "logit_bias":{"5":-100,"7":2.5},"repetition_penalty":1.2,"top_k":9,"ignore_eos_token":true,"stop":"x",
      "max_tokens":4})"));
  const auto request = engine_->last();
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_p, 0.9);
  EXPECT_EQ(request.sampling.frequency_penalty, 1);
  EXPECT_EQ(request.sampling.presence_penalty, -1);
  EXPECT_EQ(request.sampling.seed, static_cast<uint64_t>(-3));
  EXPECT_THAT(request.sampling.logit_bias, ElementsAre(std::pair(5, -100.0F), std::pair(7, 2.5F)));
  EXPECT_EQ(request.sampling.repetition_penalty, 1.2);
  EXPECT_EQ(request.sampling.top_k, 9);
  EXPECT_TRUE(request.ignore_eos);
  EXPECT_THAT(request.stop, ElementsAre("x"));
  EXPECT_EQ(request.max_new_tokens, 4);
}

TEST_F(OpenAi, TheNewerNameOfMaxTokensWins) {
  chat({{"max_tokens", 9}, {"max_completion_tokens", 5}});
  EXPECT_EQ(engine_->last().max_new_tokens, 5);
}

TEST_F(OpenAi, DefaultsOfMaxTokensAreOpenAis) {
  complete();
  EXPECT_EQ(engine_->last().max_new_tokens, 16);
  chat();
  EXPECT_EQ(engine_->last().max_new_tokens, 512 - static_cast<int32_t>(engine_->last().prompt.size()));
}

TEST_F(OpenAi, AnswersHaveIdsTimesAndUsage) {
  const auto before = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  const auto a = chat({{"max_tokens", 3}});
  const auto b = chat({{"max_tokens", 3}});
  EXPECT_EQ(a.json["object"], "chat.completion");
  EXPECT_THAT(a.json["id"].get<std::string>(), StartsWith("chatcmpl-"));
  EXPECT_NE(a.json["id"], b.json["id"]);
  EXPECT_GE(a.json["created"].get<int64_t>(), before);
  EXPECT_LE(a.json["created"].get<int64_t>(), before + 60);
  EXPECT_EQ(a.json["model"], "tiny");
  const auto prompt = static_cast<int64_t>(engine_->last().prompt.size());
  EXPECT_EQ(a.json["usage"],
            (OrderedJson{{"prompt_tokens", prompt}, {"completion_tokens", 3}, {"total_tokens", prompt + 3}}));
  EXPECT_EQ(a.headers.get("x-prompt-tokens"), std::to_string(prompt));
  EXPECT_EQ(a.headers.get("x-generated-tokens"), "3");
  const auto text = complete();
  EXPECT_EQ(text.json["object"], "text_completion");
  EXPECT_THAT(text.json["id"].get<std::string>(), StartsWith("cmpl-"));
}

TEST_F(OpenAi, FinishReasonsAreStopAndLength) {
  EXPECT_EQ(chat().json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(chat({{"max_tokens", 2}}).json["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(chat({{"stop", "world"}}).json["choices"][0]["finish_reason"], "stop");
}

TEST_F(OpenAi, TheStopSequenceIsNotPartOfTheText) {
  EXPECT_EQ(chat({{"stop", "world"}}).json["choices"][0]["message"]["content"], "hello the ");
  EXPECT_EQ(complete({{"stop", {"zzz", "e w"}}}).json["choices"][0]["text"], "hello th");
  EXPECT_EQ(complete({{"stop", "hello"}}).json["choices"][0]["text"], "");
}

TEST_F(OpenAi, ModelNamesAnAdapter) {
  const auto answer = chat({{"model", "support"}});
  EXPECT_EQ(answer.json["model"], "support");
  EXPECT_EQ(answer.json["choices"][0]["message"]["content"], std::string("support: ") + kReply);
  EXPECT_EQ(answer.headers.get("x-adapter-id"), "support");
  EXPECT_EQ(engine_->last().adapter, (AdapterRef{"support", "local", ""}));
  for (const OrderedJson& base : {OrderedJson("tiny"), OrderedJson(""), OrderedJson(nullptr)}) {
    const auto plain = chat({{"model", base}});
    EXPECT_EQ(engine_->last().adapter.id, "");
    EXPECT_EQ(plain.json["model"], "tiny");
  }
}

TEST_F(OpenAi, AMissingAdapterIs404StreamedOrNot) {
  for (const bool stream : {false, true}) {
    const auto answer = chat({{"model", "missing"}, {"stream", stream}});
    EXPECT_EQ(answer.status, 404);
    EXPECT_EQ(answer.json["error"]["code"], "model_not_found");
    EXPECT_EQ(answer.json["error"]["param"], "model");
    const auto broken = complete({{"model", "broken"}, {"stream", stream}});
    EXPECT_EQ(broken.status, 400);
    EXPECT_EQ(broken.json["error"]["code"], "model_not_usable");
  }
}

TEST_F(OpenAi, AFullQueueIs429) {
  engine_->set_overloaded(true);
  for (const bool stream : {false, true}) {
    const auto answer = chat({{"stream", stream}});
    EXPECT_EQ(answer.status, 429);
    EXPECT_EQ(answer.json["error"]["code"], "overloaded");
  }
}

TEST_F(OpenAi, AStreamThatFailsLateSaysSoInTheStream) {
  engine_->fail_after(3);
  const auto answer = chat({{"stream", true}});
  EXPECT_EQ(answer.status, 200);
  const auto last = answer.event(answer.events.size() - 1);
  EXPECT_EQ(last["error"]["type"], "server_error");
  EXPECT_EQ(last["error"]["message"], "the model produced NaN");
}

TEST_F(OpenAi, StreamsAddUpToTheWholeAnswer) {
  for (const char* text : {R"({})", R"({"max_tokens":6})", R"({"stop":"wor"})", R"({"stop":["42!","e w"]})",
                           R"({"stop":"€ 4"})", R"({"ignore_eos_token":true,"max_tokens":40})"}) {
    OrderedJson fields = OrderedJson::parse(text);
    const auto whole_chat = chat(fields);
    const auto whole_text = complete(fields);
    fields["stream"] = true;
    std::string content;
    std::string reason;
    const auto streamed = chat(fields);
    ASSERT_EQ(streamed.events.back(), "[DONE]") << text;
    for (size_t i = 0; i + 1 < streamed.events.size(); ++i) {
      const auto choice = streamed.event(i)["choices"][0];
      content += choice["delta"].value("content", "");
      if (choice["finish_reason"].is_string()) reason += choice["finish_reason"].get<std::string>();
    }
    EXPECT_EQ(content, whole_chat.json["choices"][0]["message"]["content"]) << text;
    EXPECT_EQ(reason, whole_chat.json["choices"][0]["finish_reason"]) << text;

    content.clear();
    const auto streamed_text = complete(fields);
    for (size_t i = 0; i + 1 < streamed_text.events.size(); ++i) {
      content += streamed_text.event(i)["choices"][0]["text"].get<std::string>();
    }
    EXPECT_EQ(content, whole_text.json["choices"][0]["text"]) << text;
  }
}

TEST_F(OpenAi, StreamsHaveOneIdAndEndWithDone) {
  const auto answer = chat({{"stream", true}, {"max_tokens", 2}});
  EXPECT_EQ(answer.headers.get("Content-Type"), "text/event-stream");
  ASSERT_EQ(answer.events.size(), 5U);
  std::set<std::string> ids;
  for (size_t i = 0; i + 1 < answer.events.size(); ++i) {
    const auto chunk = answer.event(i);
    ids.insert(chunk["id"]);
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_FALSE(chunk.contains("usage"));
  }
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_EQ(answer.event(0)["choices"][0]["delta"], (OrderedJson{{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(answer.event(1)["choices"][0]["delta"], (OrderedJson{{"content", "hello"}}));
  EXPECT_EQ(answer.event(3)["choices"][0]["delta"], OrderedJson::object());
  EXPECT_EQ(answer.event(3)["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer.events.back(), "[DONE]");
}

TEST_F(OpenAi, UsageIsStreamedWhenAskedFor) {
  for (const bool is_chat : {true, false}) {
    const OrderedJson fields{{"stream", true}, {"stream_options", {{"include_usage", true}}}, {"max_tokens", 4}};
    const auto answer = is_chat ? chat(fields) : complete(fields);
    const auto prompt = static_cast<int64_t>(engine_->last().prompt.size());
    ASSERT_GT(answer.events.size(), 2U);
    for (size_t i = 0; i + 2 < answer.events.size(); ++i) EXPECT_EQ(answer.event(i)["usage"], nullptr);
    const auto last = answer.event(answer.events.size() - 2);
    EXPECT_EQ(last["choices"], OrderedJson::array());
    EXPECT_EQ(last["usage"]["prompt_tokens"], prompt);
    EXPECT_EQ(last["usage"]["completion_tokens"], 4);
    EXPECT_EQ(last["usage"]["total_tokens"], prompt + 4);
  }
}

TEST_F(OpenAi, SeveralChoicesHaveSeedsOfTheirOwn) {
  const auto answer = chat({{"n", 3}, {"temperature", 1}, {"seed", 5}, {"max_tokens", 4}});
  ASSERT_EQ(answer.json["choices"].size(), 3U);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(answer.json["choices"][i]["index"], i);
  const auto requests = engine_->submitted();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0].sampling.seed, 5U);
  EXPECT_EQ(requests[1].sampling.seed, 6U);
  EXPECT_EQ(requests[2].sampling.seed, 7U);
  EXPECT_NE(answer.json["choices"][0]["message"], answer.json["choices"][1]["message"]);
  EXPECT_EQ(answer.json["usage"]["completion_tokens"], 12);
  EXPECT_EQ(answer.json["usage"]["prompt_tokens"], requests[0].prompt.size());
}

TEST_F(OpenAi, SeveralChoicesMayBeStreamed) {
  const OrderedJson fields{{"n", 2}, {"temperature", 1}, {"seed", 5}, {"max_tokens", 4}};
  const auto whole = complete(fields);
  OrderedJson streaming = fields;
  streaming["stream"] = true;
  const auto answer = complete(streaming);
  std::vector<std::string> texts(2);
  for (size_t i = 0; i + 1 < answer.events.size(); ++i) {
    const auto choice = answer.event(i)["choices"][0];
    texts.at(choice["index"].get<size_t>()) += choice["text"].get<std::string>();
  }
  EXPECT_EQ(texts[0], whole.json["choices"][0]["text"]);
  EXPECT_EQ(texts[1], whole.json["choices"][1]["text"]);
}

}  // namespace
}  // namespace graft::serving::api
