#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "net/http_client.h"
#include "net/test_client.h"
#include "serving/api/api_server.h"
#include "serving/api/json_text.h"
#include "serving/api/testing/fake_engine.h"
#include "serving/api/testing/tiny_model.h"

namespace graft::serving::api::testing {

struct Answer {
  int status = 0;
  net::Headers headers;
  std::string body;
  OrderedJson json;                 // discarded where the body is none
  std::vector<std::string> events;  // payloads of a text/event-stream
  [[nodiscard]] OrderedJson event(size_t i) const { return OrderedJson::parse(events.at(i)); }
};

// A server over the fake engine, whose reply is "hello the world, € 42!".
class ApiTest : public ::testing::Test {
 protected:
  static constexpr const char* kReply = "hello the world, \xE2\x82\xAC 42!";

  void SetUp() override { start(); }

  void start(ApiConfig config = {}, std::string reply = kReply) {
    server_.reset();
    engine_ = std::make_unique<FakeEngine>(tokenizer_, std::move(reply));
    if (config.model_id.empty()) config.model_id = "tiny";
    config.version = "1.2.3";
    config.eos_token_ids = {tokenizer_->token_to_id("<|endoftext|>")};
    auto server = ApiServer::start(config, *engine_, *tokenizer_, template_.get());
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
  }

  [[nodiscard]] std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + path;
  }

  Answer send(const std::string& method, const std::string& path, std::string body = {},
              net::Headers headers = {}) const {
    net::ClientRequest request;
    request.method = method;
    request.url = url(path);
    request.body = std::move(body);
    request.headers = std::move(headers);
    const auto response = net::http_send(request);
    EXPECT_TRUE(response.ok()) << response.error().message;
    if (!response.ok()) return {};
    return parse(response.value());
  }

  Answer post(const std::string& path, const OrderedJson& body, net::Headers headers = {}) const {
    return send("POST", path, body.dump(), std::move(headers));
  }
  Answer get(const std::string& path) const { return send("GET", path); }

  // One native request with these parameters.
  Answer generate(OrderedJson parameters, const std::string& inputs = "hello") const {
    return post("/generate", {{"inputs", inputs}, {"parameters", std::move(parameters)}});
  }

 public:
  static Answer parse(const net::ClientResponse& response) {
    Answer answer{response.status, response.headers, response.body, {}, {}};
    answer.json = OrderedJson::parse(response.body, nullptr, false);
    size_t at = 0;
    while ((at = response.body.find("data: ", at)) != std::string::npos) {
      at += 6;
      answer.events.push_back(response.body.substr(at, response.body.find("\n\n", at) - at));
    }
    return answer;
  }

 protected:
  std::vector<int32_t> ids(const std::string& text) const { return tokenizer_->encode(text).ids; }

  std::shared_ptr<const text::Tokenizer> tokenizer_ = tiny_tokenizer();
  std::unique_ptr<text::ChatTemplate> template_ = tiny_template();
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<ApiServer> server_;  // stops before its engine
};

}  // namespace graft::serving::api::testing
