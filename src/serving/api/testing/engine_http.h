#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "net/http_client.h"
#include "serving/api/api_server.h"
#include "serving/engine_test_support.h"

namespace graft::serving::api::testing {

// The routes over the real engine and a model without arithmetic.
class EngineHttp : public ::testing::Test {
 protected:
  void start(EngineLimits limits, std::function<void(FakeStepModel&)> prepare = {}) {
    auto model = std::make_unique<FakeStepModel>(256, 4);
    if (prepare) prepare(*model);
    engine_ = Engine::create(std::move(model), tokenizer_, {kFakeEos}, std::move(limits));
    ApiConfig config;
    config.model_id = "fake";
    auto server = ApiServer::start(config, *engine_, *tokenizer_, nullptr);
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
  }

  [[nodiscard]] net::ClientResponse post(const std::string& path, const std::string& body,
                                         net::Headers headers = {}) const {
    net::ClientRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(server_->port()) + path;
    request.body = body;
    request.headers = std::move(headers);
    auto response = net::http_send(request);
    EXPECT_TRUE(response.ok()) << response.error().message;
    return response.ok() ? std::move(response).value() : net::ClientResponse{};
  }

  static std::string raw_post(const std::string& path, const std::string& body) {
    return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }

  void wait_until_idle() const {
    for (int i = 0; i < 20000; ++i) {
      const EngineStats stats = engine_->stats();
      if (stats.running + stats.waiting == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL() << "the engine is still busy";
  }

  static constexpr const char* kLong =
      R"({"inputs": "abc", "parameters": {"max_new_tokens": 500, "ignore_eos_token": true}, "stream": true})";

  Gate gate_;                  // outlives the model's thread
  std::atomic<int> steps_{0};  // likewise
  std::shared_ptr<const text::Tokenizer> tokenizer_ = byte_tokenizer();
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ApiServer> server_;
};

}  // namespace graft::serving::api::testing
