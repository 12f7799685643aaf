#include <gmock/gmock.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "serving/api/testing/api_test.h"

namespace graft::serving::api {
namespace {

using testing::Answer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using LoraxGenerate = testing::ApiTest;

OrderedJson keys(const OrderedJson& object) {
  OrderedJson out = OrderedJson::array();
  for (const auto& [key, value] : object.items()) out.push_back(key);
  return out;
}

TEST_F(LoraxGenerate, AnswersWithTheTextAlone) {
  const auto answer = generate(OrderedJson::object());
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.get("Content-Type"), "application/json");
  EXPECT_EQ(answer.json, (OrderedJson{{"generated_text", kReply}}));
}

TEST_F(LoraxGenerate, RootAndInvocationsWrapTheAnswerInAnArray) {
  for (const char* path : {"/", "/invocations"}) {
    const auto answer = post(path, {{"inputs", "hello"}});
    ASSERT_TRUE(answer.json.is_array()) << path;
    ASSERT_EQ(answer.json.size(), 1U);
    EXPECT_EQ(answer.json[0]["generated_text"], kReply);
  }
}

TEST_F(LoraxGenerate, StreamCountsOnlyOnRootAndInvocations) {
  const OrderedJson body{{"inputs", "hello"}, {"stream", true}};
  EXPECT_EQ(post("/", body).headers.get("Content-Type"), "text/event-stream");
  EXPECT_EQ(post("/invocations", body).headers.get("Content-Type"), "text/event-stream");
  EXPECT_EQ(post("/generate", body).headers.get("Content-Type"), "application/json");
  EXPECT_EQ(post("/generate_stream", {{"inputs", "hello"}, {"stream", false}}).headers.get("Content-Type"),
            "text/event-stream");
}

TEST_F(LoraxGenerate, DetailsHoldWhatLoraxClientReads) {
  const auto answer = generate({{"details", true}, {"max_new_tokens", 3}});
  const auto& details = answer.json["details"];
  EXPECT_EQ(keys(details), OrderedJson::parse(R"(["finish_reason","prompt_tokens","generated_tokens","skipped_tokens",
                                                  "seed","prefill","tokens"])"));
  EXPECT_EQ(details["finish_reason"], "length");
  EXPECT_EQ(details["prompt_tokens"], 1);
  EXPECT_EQ(details["generated_tokens"], 3);
  EXPECT_EQ(details["skipped_tokens"], 0);
  EXPECT_EQ(details["seed"], nullptr);
  EXPECT_EQ(details["prefill"], OrderedJson::array());
  EXPECT_EQ(details["tokens"][1], OrderedJson::parse(R"({"id":261,"text":" the","logprob":-0.75,"special":false,
                                                         "skipped":false})"));
}

TEST_F(LoraxGenerate, FinishReasonsAreNamed) {
  EXPECT_EQ(generate({{"details", true}}).json["details"]["finish_reason"], "eos_token");
  const auto stopped = generate({{"details", true}, {"stop", {"world", "never"}}});
  EXPECT_EQ(stopped.json["details"]["finish_reason"], "stop_sequence");
  EXPECT_EQ(stopped.json["generated_text"], "hello the world");  // the stop text is kept
}

TEST_F(LoraxGenerate, TheEndTokenIsInTheDetailsButNotInTheText) {
  const auto answer = generate({{"details", true}});
  const auto& last = answer.json["details"]["tokens"].back();
  EXPECT_EQ(last["text"], "<|endoftext|>");
  EXPECT_EQ(last["special"], true);
  EXPECT_EQ(answer.json["generated_text"], kReply);
}

TEST_F(LoraxGenerate, PrefillHasANullWhereALogprobCannotBe) {
  const auto answer = generate({{"decoder_input_details", true}}, "hello the");
  EXPECT_EQ(
      answer.json["details"]["prefill"],
      OrderedJson::parse(R"([{"id":259,"text":"hello","logprob":null},{"id":261,"text":" the","logprob":-2.0}])"));
}

TEST_F(LoraxGenerate, AlternativesStandBesideTheirToken) {
  const auto answer = generate({{"details", true}, {"return_k_alternatives", 2}, {"max_new_tokens", 1}});
  EXPECT_EQ(answer.json["details"]["tokens"][0]["alternative_tokens"],
            OrderedJson::parse(R"([{"id":259,"text":"hello","logprob":-0.5},{"id":260,"text":" t","logprob":-1.5}])"));
  EXPECT_EQ(engine_->last().num_alternatives, 2);
}

TEST_F(LoraxGenerate, FullTextBeginsWithTheInputs) {
  EXPECT_EQ(generate({{"return_full_text", true}}, "in: ").json["generated_text"], std::string("in: ") + kReply);
}

TEST_F(LoraxGenerate, TruncateKeepsTheLastTokens) {
  generate({{"truncate", 2}}, "hello the world");
  EXPECT_EQ(engine_->last().prompt, ids(" the world"));
  generate({{"truncate", 100}}, "hello the world");
  EXPECT_EQ(engine_->last().prompt, ids("hello the world"));
}

TEST_F(LoraxGenerate, OutputFillsTheContextUnlessTold) {
  generate(OrderedJson::object(), "hello the world");
  EXPECT_EQ(engine_->last().max_new_tokens, 512 - 3);
  generate({{"max_new_tokens", 7}});
  EXPECT_EQ(engine_->last().max_new_tokens, 7);
}

TEST_F(LoraxGenerate, SpecialTokensInRawInputsAreSpecial) {
  generate(OrderedJson::object(), "<|im_start|>");
  EXPECT_THAT(engine_->last().prompt, ElementsAre(tokenizer_->token_to_id("<|im_start|>")));
}

TEST_F(LoraxGenerate, TheChatTemplateWrapsInputsAsOneUserMessage) {
  generate({{"apply_chat_template", true}}, "hello<|im_end|>");
  const auto prompt = engine_->last().prompt;
  EXPECT_EQ(tokenizer_->decode(prompt, false), "<|im_start|>user\nhello<|im_end|><|im_end|>\n<|im_start|>assistant\n");
  // What the user wrote as a special token is not one.
  EXPECT_EQ(std::count(prompt.begin(), prompt.end(), tokenizer_->token_to_id("<|im_end|>")), 1);
}

TEST_F(LoraxGenerate, WithoutATemplateItCannotBeApplied) {
  const auto server = ApiServer::start({}, *engine_, *tokenizer_, nullptr);
  const auto response = net::http_post_json("http://127.0.0.1:" + std::to_string(server.value()->port()) + "/generate",
                                            R"({"inputs":"a","parameters":{"apply_chat_template":true}})");
  EXPECT_EQ(response.value().status, 422);
  const auto json = OrderedJson::parse(response.value().body);
  EXPECT_EQ(json["error"], "Failed applying chat template to inputs: this model has no chat template");
  EXPECT_EQ(json["error_type"], "template_error");
}

TEST_F(LoraxGenerate, ParametersReachTheEngine) {
  generate(OrderedJson::parse(R"({"do_sample":true,"temperature":0.5,"top_k":3,"top_p":0.9,"typical_p":0.8,"seed":7,
      "repetition_penalty":1.1,"frequency_penalty":-1,"presence_penalty":2,"stop":["x"],"ignore_eos_token":true,
      "max_new_tokens":4})"));
  const auto request = engine_->last();
  EXPECT_FALSE(request.sampling.greedy);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_k, 3);
  EXPECT_EQ(request.sampling.top_p, 0.9);
  EXPECT_EQ(request.sampling.typical_p, 0.8);
  EXPECT_EQ(request.sampling.seed, 7U);
  EXPECT_EQ(request.sampling.repetition_penalty, 1.1);
  EXPECT_EQ(request.sampling.frequency_penalty, -1);
  EXPECT_EQ(request.sampling.presence_penalty, 2);
  EXPECT_THAT(request.stop, ElementsAre("x"));
  EXPECT_TRUE(request.ignore_eos);
}

TEST_F(LoraxGenerate, SamplesWhenAskedOrWhenASettingShapesTheDistribution) {
  const std::vector<std::pair<const char*, bool>> cases{
      {"{}", false},
      {R"({"do_sample":false,"temperature":1.0})", false},
      {R"({"temperature":0})", false},
      {R"({"temperature":0,"do_sample":true})", false},
      {R"({"temperature":0,"top_k":5})", false},
      {R"({"top_p":1.0})", false},
      {R"({"repetition_penalty":1.5})", false},
      {R"({"do_sample":true})", true},
      {R"({"temperature":0.7})", true},
      {R"({"top_k":5})", true},
      {R"({"top_p":0.5})", true},
      {R"({"typical_p":0.5})", true},
  };
  for (const auto& [parameters, samples] : cases) {
    OrderedJson json = OrderedJson::parse(parameters);
    json["details"] = true;
    const auto answer = generate(json);
    ASSERT_EQ(answer.status, 200) << parameters;
    EXPECT_EQ(engine_->last().sampling.greedy, !samples) << parameters;
    EXPECT_EQ(answer.json["details"]["seed"].is_null(), !samples) << parameters;
  }
}

TEST_F(LoraxGenerate, TheSeedIsReportedAndDecides) {
  const auto first = generate({{"do_sample", true}, {"details", true}, {"seed", 18446744073709551615U}});
  EXPECT_EQ(first.json["details"]["seed"], 18446744073709551615U);
  const auto again = generate({{"do_sample", true}, {"details", true}, {"seed", 18446744073709551615U}});
  EXPECT_EQ(first.json, again.json);
  const auto random = generate({{"do_sample", true}, {"details", true}});
  EXPECT_EQ(random.json["details"]["seed"], engine_->last().sampling.seed);
}

TEST_F(LoraxGenerate, BestOfReturnsTheMostLikelyFirst) {
  const auto answer = generate({{"best_of", 2}, {"do_sample", true}, {"details", true}, {"max_new_tokens", 2}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  ASSERT_EQ(engine_->submitted().size(), 2U);
  const auto& details = answer.json["details"];
  ASSERT_EQ(details["best_of_sequences"].size(), 1U);
  const auto& other = details["best_of_sequences"][0];
  EXPECT_EQ(keys(other), OrderedJson::parse(R"(["generated_text","finish_reason","generated_tokens","seed","prefill",
                                                "tokens"])"));
  EXPECT_NE(details["seed"], other["seed"]);
  const auto sum = [](const OrderedJson& tokens) {
    double total = 0;
    for (const auto& token : tokens) total += token["logprob"].get<double>();
    return total;
  };
  EXPECT_GE(sum(details["tokens"]), sum(other["tokens"]));
}

TEST_F(LoraxGenerate, HeadersTellTokensAndTimes) {
  const auto answer = generate({{"max_new_tokens", 3}}, "hello \xC3\xA9");
  const auto& headers = answer.headers;
  EXPECT_EQ(headers.get("x-compute-type"), "cpu+optimized");
  EXPECT_EQ(headers.get("x-compute-characters"), "7");
  EXPECT_EQ(headers.get("x-model-id"), "tiny");
  EXPECT_EQ(headers.get("x-prompt-tokens"), std::to_string(ids("hello \xC3\xA9").size()));
  EXPECT_EQ(headers.get("x-generated-tokens"), "3");
  EXPECT_EQ(headers.get("x-skipped-tokens"), "0");
  EXPECT_EQ(headers.get("x-total-tokens"), std::to_string(ids("hello \xC3\xA9").size() + 3));
  EXPECT_EQ(headers.get("x-queue-time"), "2");
  EXPECT_EQ(headers.get("x-inference-time"), "40");
  EXPECT_EQ(headers.get("x-time-per-token"), "13");
  EXPECT_EQ(headers.get("x-time-to-first-token"), "8");
  EXPECT_EQ(headers.get("x-time-per-output-token"), "16");
  for (const char* name : {"x-compute-time", "x-total-time", "x-validation-time"}) {
    const std::string value(headers.get(name));
    ASSERT_FALSE(value.empty()) << name;
    EXPECT_EQ(value.find_first_not_of("0123456789"), std::string::npos) << name;
  }
  EXPECT_FALSE(headers.has("x-adapter-id"));
  EXPECT_FALSE(headers.has("x-adapter-source"));
}

TEST_F(LoraxGenerate, AdaptersAreNamedInTheHeaders) {
  const auto answer = generate({{"adapter_id", "support"}, {"adapter_source", "local"}});
  EXPECT_EQ(answer.json["generated_text"], std::string("support: ") + kReply);
  EXPECT_EQ(answer.headers.get("x-adapter-id"), "support");
  EXPECT_EQ(answer.headers.get("x-adapter-source"), "local");
  EXPECT_EQ(engine_->last().adapter, (AdapterRef{"support", "local", ""}));
}

TEST_F(LoraxGenerate, NonAsciiAdapterIdsWork) {
  const auto answer = generate({{"adapter_id", "kunden-\xC3\xBC/\xE6\x97\xA5"}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.get("x-adapter-id"), "kunden-%C3%BC/%E6%97%A5");
  EXPECT_EQ(engine_->last().adapter.id, "kunden-\xC3\xBC/\xE6\x97\xA5");
}

TEST_F(LoraxGenerate, EmptyAndBaseNamesAreTheBaseModel) {
  for (const char* id : {"", "tiny", "__base_model__"}) {
    EXPECT_EQ(generate({{"adapter_id", id}, {"adapter_source", "hub"}}).status, 200) << id;
    EXPECT_EQ(engine_->last().adapter.id, "") << id;
  }
}

TEST_F(LoraxGenerate, FailuresAfterAcceptanceAre424) {
  const auto missing = generate({{"adapter_id", "missing"}});
  EXPECT_EQ(missing.status, 424);
  EXPECT_EQ(missing.json["error"], "Request failed during generation: adapter missing: no such directory");
  EXPECT_EQ(missing.json["error_type"], "generation");
  EXPECT_EQ(generate({{"adapter_id", "broken"}}).status, 424);
  engine_->fail_after(2);
  EXPECT_EQ(generate(OrderedJson::object()).json["error"], "Request failed during generation: the model produced NaN");
}

TEST_F(LoraxGenerate, AFullQueueIs429) {
  engine_->set_overloaded(true);
  const auto answer = generate(OrderedJson::object());
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.json, OrderedJson::parse(R"({"error":"Model is overloaded","error_type":"overloaded"})"));
}

TEST_F(LoraxGenerate, AStoppedEngineIsAnIncompleteGeneration) {
  engine_->allow_tokens(2);
  std::optional<Answer> answer;
  std::thread client([&] { answer = generate(OrderedJson::object()); });
  while (engine_->running() == 0) std::this_thread::yield();
  engine_->cancel(1);
  client.join();
  EXPECT_EQ(answer->status, 500);
  EXPECT_EQ(answer->json,
            OrderedJson::parse(R"({"error":"Incomplete generation","error_type":"incomplete_generation"})"));
}

TEST_F(LoraxGenerate, StreamEventsEndWithTheWholeText) {
  const auto answer = post("/generate_stream", {{"inputs", "hello"}, {"parameters", {{"details", true}}}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.get("X-Accel-Buffering"), "no");
  EXPECT_EQ(answer.headers.get("x-model-id"), "tiny");
  ASSERT_EQ(answer.events.size(), ids(kReply).size() + 1);
  std::string text;
  for (size_t i = 0; i < answer.events.size(); ++i) {
    const auto event = answer.event(i);
    EXPECT_EQ(keys(event), OrderedJson::parse(R"(["token","generated_text","details"])"));
    if (!event["token"]["special"].get<bool>()) text += event["token"]["text"].get<std::string>();
    if (i + 1 == answer.events.size()) break;
    EXPECT_EQ(event["generated_text"], nullptr);
    EXPECT_EQ(event["details"], nullptr);
  }
  EXPECT_EQ(text, kReply);
  const auto last = answer.event(answer.events.size() - 1);
  EXPECT_EQ(last["generated_text"], kReply);
  EXPECT_EQ(last["details"], OrderedJson::parse(R"({"finish_reason":"eos_token","prompt_tokens":1,"generated_tokens":13,
                                                    "seed":null})"));
  EXPECT_THAT(answer.body, Not(HasSubstr("[DONE]")));
}

TEST_F(LoraxGenerate, EveryTokenIsStreamedOnceHoweverItEnds) {
  for (const char* parameters : {R"({"max_new_tokens":5})", R"({"stop":["wor"]})", R"({"stop":["the","x"]})",
                                 R"({"ignore_eos_token":true,"max_new_tokens":30})", R"({"max_new_tokens":1})"}) {
    const auto whole = generate(OrderedJson::parse(parameters));
    const auto streamed =
        post("/generate_stream", {{"inputs", "hello"}, {"parameters", OrderedJson::parse(parameters)}});
    std::string text;
    for (size_t i = 0; i < streamed.events.size(); ++i) {
      const auto token = streamed.event(i)["token"];
      if (!token["special"].get<bool>()) text += token["text"].get<std::string>();
    }
    EXPECT_EQ(text, whole.json["generated_text"]) << parameters;
    const auto last = streamed.event(streamed.events.size() - 1);
    EXPECT_EQ(last["generated_text"], whole.json["generated_text"]) << parameters;
    EXPECT_EQ(last["details"], nullptr) << parameters;
  }
}

TEST_F(LoraxGenerate, AStreamThatFailsKeepsStatus200) {
  const auto missing = post("/generate_stream", {{"inputs", "hello"}, {"parameters", {{"adapter_id", "missing"}}}});
  EXPECT_EQ(missing.status, 200);
  ASSERT_EQ(missing.events.size(), 1U);
  EXPECT_EQ(missing.event(0)["error_type"], "generation");
  engine_->fail_after(3);
  const auto late = post("/generate_stream", {{"inputs", "hello"}});
  ASSERT_EQ(late.events.size(), 4U);
  EXPECT_EQ(late.event(2)["token"]["text"], " world");
  EXPECT_EQ(late.event(3), OrderedJson::parse(R"({"error":"Request failed during generation: the model produced NaN",
                                                  "error_type":"generation"})"));
  engine_->set_overloaded(true);
  EXPECT_EQ(post("/generate_stream", {{"inputs", "hello"}}).event(0)["error_type"], "overloaded");
}

TEST_F(LoraxGenerate, TokensAreStreamedBeforeTheTextIsWhole) {
  engine_->allow_tokens(3);
  net::RawClient client(server_->port());
  const std::string body = R"({"inputs":"hello"})";
  ASSERT_TRUE(client.send("POST /generate_stream HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
                          "\r\n\r\n" + body));
  EXPECT_NE(client.read_until("\" world\""), "");  // the third token, though no fourth one has come
  engine_->allow_tokens(-1);
  EXPECT_NE(client.read_until("0\r\n\r\n"), "");
}

TEST_F(LoraxGenerate, AQuietStreamGetsKeepAliveComments) {
  ApiConfig config;
  config.sse_heartbeat = std::chrono::milliseconds(20);
  start(config);
  engine_->allow_tokens(0);
  net::RawClient client(server_->port());
  const std::string body = R"({"inputs":"hello"})";
  ASSERT_TRUE(client.send("POST /generate_stream HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
                          "\r\n\r\n" + body));
  EXPECT_NE(client.read_until("\r\n:\n\n\r\n"), "");
  EXPECT_NE(client.read_until("\r\n:\n\n\r\n"), "");
  engine_->allow_tokens(-1);
  EXPECT_NE(client.read_until("0\r\n\r\n"), "");
}

}  // namespace
}  // namespace graft::serving::api
