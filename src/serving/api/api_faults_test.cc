// What broken, slow, impatient and hostile clients do to the API.

#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <random>
#include <thread>

#include "serving/api/testing/api_test.h"

namespace graft::serving::api {
namespace {

using testing::Answer;
using ::testing::HasSubstr;

class Faults : public testing::ApiTest {
 protected:
  static std::string request_text(const std::string& path, const std::string& body) {
    return "POST " + path + " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  // Every answer is JSON of the right form, or a stream.
  static void expect_well_formed(const std::string& path, const Answer& answer, const std::string& body) {
    ASSERT_GE(answer.status, 200) << body;
    if (answer.headers.get("Content-Type") == "text/event-stream") {
      for (const auto& event : answer.events) {
        ASSERT_TRUE(event == "[DONE]" || OrderedJson::accept(event)) << event;
      }
      return;
    }
    ASSERT_FALSE(answer.json.is_discarded()) << answer.body;
    if (answer.status == 200) return;
    ASSERT_GE(answer.status, 400) << body;
    ASSERT_LT(answer.status, 500) << body << answer.body;
    if (path.substr(0, 3) == "/v1") {
      ASSERT_TRUE(answer.json["error"]["message"].is_string()) << answer.body;
      ASSERT_TRUE(answer.json["error"]["type"].is_string()) << answer.body;
    } else {
      ASSERT_TRUE(answer.json["error"].is_string()) << answer.body;
      ASSERT_TRUE(answer.json["error_type"].is_string()) << answer.body;
    }
  }

  void expect_alive() const { EXPECT_EQ(generate({{"max_new_tokens", 1}}).status, 200); }

  // A valid body of each route with every field there is.
  static const std::vector<std::pair<std::string, std::string>>& samples() {
    static const std::vector<std::pair<std::string, std::string>> kSamples{
        {"/generate",
         R"({"inputs":"hello","stream":false,"parameters":{"adapter_id":"a","adapter_source":"local","api_token":"t","best_of":1,"temperature":0.7,"repetition_penalty":1.1,
          "frequency_penalty":0.1,"presence_penalty":0.1,"top_k":5,"top_p":0.9,"typical_p":0.9,"do_sample":true,
          "max_new_tokens":3,"ignore_eos_token":false,"return_full_text":true,"stop":["x"],"truncate":5,
          "watermark":false,"details":true,"decoder_input_details":true,"return_k_alternatives":2,
          "apply_chat_template":true,"seed":7,"response_format":{"type":"json_object","schema":null}}})"},
        {"/", R"({"inputs":"hello","stream":true,"parameters":{"max_new_tokens":2,"details":true}})"},
        {"/generate", R"({"inputs":"hello","parameters":{"max_new_tokens":2,"merged_adapters":{"ids":["a"],
          "weights":[1.0],"merge_strategy":"ties","density":0.5,"majority_sign_method":"total"}}})"},
        {"/tokenize", R"({"inputs":"hello","add_special_tokens":true})"},
        {"/v1/completions", R"({"model":"m","prompt":["hello",[1,2]],"best_of":2,"echo":true,"frequency_penalty":0.1,
          "logit_bias":{"5":1},"logprobs":2,"max_tokens":3,"n":2,"presence_penalty":0.1,"seed":7,"stop":["a"],
          "stream":false,"stream_options":null,"suffix":"","temperature":0.5,"top_p":0.9,"user":"u",
          "repetition_penalty":1.1,"top_k":3,"ignore_eos_token":false,"adapter_source":"local","api_token":"t"})"},
        {"/v1/chat/completions", R"({"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":
          [{"type":"text","text":"hello"}],"name":"n"}],"frequency_penalty":0.1,"logit_bias":{"5":1},"logprobs":true,
          "top_logprobs":2,"max_completion_tokens":3,"n":2,"presence_penalty":0.1,"response_format":{"type":"text"},
          "seed":7,"stop":"a","stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"top_p":0.9,
          "tools":[],"tool_choice":"none"})"}};
    return kSamples;
  }
};

// Replaces each value in a document, one after the other, and hands the results to `use`.
void with_each_value_replaced(const OrderedJson& document, const OrderedJson& value,
                              const std::function<void(const OrderedJson&)>& use) {
  const OrderedJson leaves = document.flatten();
  for (const auto& [pointer, leaf] : leaves.items()) {
    OrderedJson changed = document;
    changed[OrderedJson::json_pointer(pointer)] = value;
    use(changed);
  }
  for (const auto& [key, member] : document.items()) {
    OrderedJson changed = document;
    changed[key] = value;
    use(changed);
  }
}

TEST_F(Faults, WrongTypesInEveryFieldAreWellFormedErrors) {
  const auto values = OrderedJson::parse(
      R"([null, true, -1, 0, 18446744073709551615, -9223372036854775808, 1e308, -1e308, 0.5, "", "x", [], [null],
          [[]], {}, {"a":{"b":[]}}])");
  for (const auto& [path, text] : samples()) {
    const OrderedJson document = OrderedJson::parse(text);
    for (const auto& value : values) {
      with_each_value_replaced(document, value, [&](const OrderedJson& changed) {
        expect_well_formed(path, post(path, changed), changed.dump());
      });
    }
  }
  expect_alive();
}

TEST_F(Faults, RandomlyMutatedBodiesNeverEndTheServer) {
  std::mt19937 random(11);
  for (int round = 0; round < 1500; ++round) {
    const auto& [path, text] = samples()[random() % samples().size()];
    std::string body = text;
    const int edits = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < edits; ++i) {
      const size_t where = random() % body.size();
      switch (random() % 4) {
        case 0:
          body[where] = static_cast<char>(random());
          break;
        case 1:
          body.erase(where, 1 + random() % 5);
          break;
        case 2:
          body.insert(where, 1, "\"{}[],:0-eE.\\"[random() % 12]);
          break;
        default:
          body.insert(where, body.substr(random() % body.size(), random() % 20));
      }
      if (body.empty()) body = " ";
    }
    expect_well_formed(path, send("POST", path, body), body);
  }
  expect_alive();
}

TEST_F(Faults, TruncatedBodiesAreErrors) {
  for (const auto& [path, text] : samples()) {
    for (size_t n = 0; n < text.size(); n += 1 + text.size() / 100) {
      const auto answer = send("POST", path, text.substr(0, n));
      EXPECT_EQ(answer.status, 400) << text.substr(0, n);
      expect_well_formed(path, answer, text.substr(0, n));
    }
  }
}

TEST_F(Faults, InvalidUtf8IsRefusedEverywhere) {
  for (const auto& [path, text] : samples()) {
    for (const char* bytes : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
      std::string body = text;
      body.insert(body.find("hello"), bytes);
      const auto answer = send("POST", path, body);
      EXPECT_EQ(answer.status, 400);
      expect_well_formed(path, answer, body);
    }
  }
}

TEST_F(Faults, HugeNumbersAreErrorsNotSurprises) {
  for (const char* number : {"1e400", "-1e400", "99999999999999999999999999", "1e-400"}) {
    const auto answer =
        send("POST", "/generate",
             std::string(R"({"inputs":"a","parameters":{"max_new_tokens":1,"temperature":)") + number + "}}");
    expect_well_formed("/generate", answer, number);
  }
  expect_alive();
}

TEST_F(Faults, TooLongBodiesAre413InTheRightForm) {
  ApiConfig config;
  config.max_body_bytes = 1000;
  start(config);
  const OrderedJson body{{"inputs", std::string(5000, 'a')}};
  const auto native = post("/generate", body);
  EXPECT_EQ(native.status, 413);
  expect_well_formed("/generate", native, "");
  const auto openai = post("/v1/completions", body);
  EXPECT_EQ(openai.status, 413);
  expect_well_formed("/v1/completions", openai, "");
}

TEST_F(Faults, AClientThatLeavesHasItsSequencesCancelled) {
  const std::vector<std::pair<std::string, std::string>> requests{
      {"/generate", R"({"inputs":"hello"})"},
      {"/generate", R"({"inputs":"hello","parameters":{"best_of":2,"do_sample":true}})"},
      {"/generate_stream", R"({"inputs":"hello"})"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"}],"n":3})"},
      {"/v1/completions", R"({"prompt":"a","stream":true})"}};
  size_t sequences = 0;
  for (const auto& [path, body] : requests) {
    engine_->allow_tokens(2);
    const size_t before = engine_->submitted().size();
    net::RawClient client(server_->port());
    ASSERT_TRUE(client.send(request_text(path, body)));
    while (engine_->submitted().size() == before) std::this_thread::yield();
    client.close();
    engine_->allow_tokens(0);
    while (engine_->running() > 0) std::this_thread::yield();
    sequences += engine_->submitted().size() - before;
    EXPECT_EQ(engine_->wait_for_cancels(sequences), sequences) << path;
  }
  engine_->allow_tokens(-1);
  expect_alive();
}

TEST_F(Faults, AReaderThatTakesNothingIsCutAndCancelled) {
  // Far more output than the sockets and the queue of a connection hold.
  server_.reset();
  engine_ = std::make_unique<testing::FakeEngine>(tokenizer_, std::string(60'000, 'x'), 100'000);
  auto server = ApiServer::start({}, *engine_, *tokenizer_, template_.get());
  ASSERT_TRUE(server.ok());
  server_ = std::move(server).value();
  engine_->allow_tokens(20'000);
  net::RawClient client(server_->port(), 4096);
  ASSERT_TRUE(client.send(request_text(
      "/generate_stream", R"({"inputs":"hello","parameters":{"return_k_alternatives":20,"max_new_tokens":50000}})")));
  EXPECT_EQ(engine_->wait_for_cancels(1), 1U);
  const std::string answer = client.read_all();
  EXPECT_FALSE(answer.ends_with("\r\n0\r\n\r\n"));  // not as if it were whole
  engine_->allow_tokens(-1);
  expect_alive();
}

TEST_F(Faults, StoppingCancelsWhatRunsAndEndsStreams) {
  engine_->allow_tokens(3);
  net::RawClient stream(server_->port());
  ASSERT_TRUE(stream.send(request_text("/generate_stream", R"({"inputs":"hello"})")));
  EXPECT_NE(stream.read_until(" world"), "");
  server_->stop(std::chrono::milliseconds(20));
  stream.read_all();
  EXPECT_EQ(engine_->wait_for_cancels(1), 1U);
}

TEST_F(Faults, StoppingLetsRequestsFinishWithinTheGrace) {
  engine_->allow_tokens(3);
  net::RawClient stream(server_->port());
  ASSERT_TRUE(stream.send(request_text("/generate_stream", R"({"inputs":"hello"})")));
  EXPECT_NE(stream.read_until(" world"), "");
  std::thread stopper([&] { server_->stop(std::chrono::seconds(20)); });
  engine_->allow_tokens(-1);
  EXPECT_THAT(stream.read_all(), HasSubstr("<|endoftext|>"));
  stopper.join();
}

TEST_F(Faults, TheEngineMayOutliveAStoppedServer) {
  engine_->allow_tokens(1);
  net::RawClient client(server_->port());
  ASSERT_TRUE(client.send(request_text("/generate", R"({"inputs":"hello"})")));
  while (engine_->running() == 0) std::this_thread::yield();
  server_.reset();
  engine_->allow_tokens(-1);  // events of the request that the server left behind go nowhere
  while (engine_->running() > 0) std::this_thread::yield();
}

TEST_F(Faults, ManyClientsAtOnceAreAllAnswered) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 12; ++i) {
        const auto native = generate({{"adapter_id", "a" + std::to_string(t)}, {"details", true}});
        if (native.json["generated_text"] == "a" + std::to_string(t) + ": " + kReply) ++good;
        const auto stream = post("/v1/completions", {{"prompt", "a"}, {"stream", true}, {"temperature", 0}});
        if (!stream.events.empty() && stream.events.back() == "[DONE]") ++good;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 8 * 12 * 2);
}

}  // namespace
}  // namespace graft::serving::api
