#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "serving/api/testing/api_test.h"
#include "serving/engine_test_support.h"
#include "serving/scripted_model.h"

namespace graft::serving::api::testing {

// A server over the real engine and a fake model, whose tokens are bytes; with ChatML as the chat template, or another.
class EngineServer {
 public:
  explicit EngineServer(std::unique_ptr<FakeStepModel> model,
                        std::unique_ptr<text::ChatTemplate> chat = tiny_template(), EngineLimits limits = {})
      : template_(std::move(chat)) {
    engine_ = Engine::create(std::move(model), tokenizer_, {kFakeEos}, limits);
    ApiConfig config;
    config.model_id = "fake";
    config.eos_token_ids = {kFakeEos};
    config.vocab_size = kFakeVocab;
    auto server = ApiServer::start(config, *engine_, *tokenizer_, template_.get());
    EXPECT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
  }

  [[nodiscard]] std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + path;
  }

  [[nodiscard]] Answer post(const std::string& path, const OrderedJson& body) const {
    net::ClientRequest request;
    request.method = "POST";
    request.url = url(path);
    request.body = body.dump();
    const auto response = net::http_send(request);
    EXPECT_TRUE(response.ok()) << response.error().message;
    return response.ok() ? ApiTest::parse(response.value()) : Answer{};
  }

  [[nodiscard]] EngineStats stats() const { return engine_->stats(); }

 private:
  std::shared_ptr<const text::Tokenizer> tokenizer_ = byte_tokenizer();
  std::unique_ptr<text::ChatTemplate> template_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ApiServer> server_;  // stops before its engine
};

}  // namespace graft::serving::api::testing
