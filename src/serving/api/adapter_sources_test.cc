// Adapters of a hub through the routes, with the small hub server of the tests.
#include <gmock/gmock.h>

#include <filesystem>

#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_process.h"
#include "formats/peft_adapter.h"
#include "serving/api/adapter_fetch.h"
#include "serving/api/testing/api_test.h"
#include "serving/api/testing/tiny_adapters.h"

namespace graft::serving::api {
namespace {

using ::testing::HasSubstr;
using testing::tiny_base;
using testing::write_tiny_adapter;

class AdapterSources : public testing::ApiTest {
 protected:
  AdapterSources() : hub_({GRAFT_SOURCE_DIR "/tests/support/hub_server.py", (home_ / "repos").string()}) {
    fetch_.hub.endpoint = nlohmann::json::parse(hub_.line())["url"];
    fetch_.hub.cache = home_ / "hub";
    fetch_.hub.attempts = 1;
    fetch_.object_cache = home_ / "objects";
  }

  void SetUp() override {
    for (const char* repo : {"org/a", "org/b", "org/secret-private"}) {
      write_tiny_adapter(home_ / "repos" / repo / "main", 4, static_cast<unsigned>(repo[4]));
    }
    restart();
  }

  void restart(CatalogSettings catalog = {}) {
    ApiConfig config;
    config.catalog = std::move(catalog);
    config.catalog.private_folders = {home_ / "hub", home_ / "merges"};
    config.adapter_sources.fetch = make_adapter_fetch(fetch_);
    config.adapter_sources.recheck = std::chrono::milliseconds(0);
    config.adapter_sources.merge_folder = home_ / "merges";
    config.adapter_sources.base = tiny_base();
    start(config);
  }

  static OrderedJson on_hub(const std::string& id, OrderedJson more = OrderedJson::object()) {
    OrderedJson parameters{{"adapter_id", id}, {"adapter_source", "hub"}};
    parameters.update(more);
    return parameters;
  }

  TestDirectory home_;
  PythonServer hub_;
  AdapterFetchSettings fetch_;
};

TEST_F(AdapterSources, AnAdapterOfTheHubReachesTheEngineAsADirectory) {
  const auto answer = generate(on_hub("org/a"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.headers.get("x-adapter-id"), "org/a");
  EXPECT_EQ(answer.headers.get("x-adapter-source"), "hub");
  const AdapterRef ref = engine_->last().adapter;
  EXPECT_EQ(ref.source, "local");
  EXPECT_TRUE(formats::PeftAdapter::open(ref.id, tiny_base()).ok());
  const auto chat = post("/v1/completions", {{"model", "org/a"}, {"adapter_source", "hub"}, {"prompt", "hello"}});
  EXPECT_EQ(chat.status, 200) << chat.body;
  EXPECT_EQ(engine_->last().adapter, ref);
}

TEST_F(AdapterSources, APrivateOneIsServedToItsTokenAlone) {
  const std::string id = "org/secret-private";
  EXPECT_EQ(generate(on_hub(id, {{"api_token", "hf_secret"}})).status, 200);
  const std::string directory = engine_->last().adapter.id;
  const size_t served = engine_->submitted().size();
  EXPECT_EQ(generate(on_hub(id)).status, 424);
  EXPECT_EQ(generate(on_hub(id, {{"api_token", "hf_other"}})).status, 424);
  EXPECT_EQ(generate({{"adapter_id", directory}}).status, 422);  // nor by its path
  EXPECT_EQ(post("/v1/completions", {{"model", id}, {"adapter_source", "hub"}, {"prompt", "hello"}}).status, 404);
  const OrderedJson merged{{"ids", {id, "org/a"}}, {"weights", {1, 1}}};
  EXPECT_EQ(generate({{"merged_adapters", merged}, {"adapter_source", "hub"}}).status, 424);
  EXPECT_EQ(engine_->submitted().size(), served);
  // The token may also come as an Authorization header.
  const net::Headers bearer = {{"Authorization", "Bearer hf_secret"}};
  EXPECT_EQ(post("/generate", {{"inputs", "hello"}, {"parameters", on_hub(id)}}, bearer).status, 200);
  EXPECT_EQ(post("/v1/completions", {{"model", id}, {"adapter_source", "hub"}, {"prompt", "hello"}}, bearer).status,
            200);
}

TEST_F(AdapterSources, AnOpenAiKeyThatIsNoHubTokenIsNotSentToTheHub) {
  const net::Headers key = {{"Authorization", "Bearer EMPTY"}};
  EXPECT_EQ(post("/v1/completions", {{"model", "org/a"}, {"adapter_source", "hub"}, {"prompt", "hello"}}, key).status,
            200);
}

TEST_F(AdapterSources, WhatIsNotThereAndWhatDoesNotAnswerAreDifferentErrors) {
  const auto missing = generate(on_hub("org/nowhere"));
  EXPECT_EQ(missing.status, 424);
  EXPECT_EQ(missing.json["error_type"], "generation");
  EXPECT_THAT(missing.body, HasSubstr("Repository not found"));
  const OrderedJson asked{{"model", "org/nowhere"}, {"adapter_source", "hub"}, {"prompt", "hello"}};
  const auto openai = post("/v1/completions", asked);
  EXPECT_EQ(openai.status, 404);
  EXPECT_EQ(openai.json["error"]["code"], "model_not_found");
  fetch_.hub.endpoint = "http://127.0.0.1:1";
  restart();
  const auto down = post("/v1/completions", asked);
  EXPECT_EQ(down.status, 424);
  EXPECT_EQ(down.json["error"]["code"], "model_not_available");
  EXPECT_EQ(generate(on_hub("org/a")).status, 424);
}

TEST_F(AdapterSources, ANewCommitIsServedUnderTheSameName) {
  ASSERT_EQ(generate(on_hub("org/a")).status, 200);
  const std::string before = engine_->last().adapter.id;
  write_tiny_adapter(home_ / "repos/org/a/main", 4, 77);
  ASSERT_EQ(generate(on_hub("org/a")).status, 200);
  EXPECT_NE(engine_->last().adapter.id, before);
}

TEST_F(AdapterSources, AdaptersOfTheHubCanBeMerged) {
  const OrderedJson merged{{"ids", {"org/a", "org/b"}}, {"weights", {1, 1}}};
  const auto answer = generate({{"merged_adapters", merged}, {"adapter_source", "hub"}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.headers.get("x-adapter-id"), "org/a,org/b");
  EXPECT_EQ(answer.headers.get("x-adapter-source"), "hub");
}

TEST_F(AdapterSources, TheDefaultSourceAndTheDefaultAdapterAreUsedWhereNothingIsSaid) {
  restart({.default_source = "hub", .default_adapter = "org/b", .private_folders = {}});
  EXPECT_EQ(generate({{"adapter_id", "org/a"}}).headers.get("x-adapter-id"), "org/a");
  const auto unnamed = generate(OrderedJson::object());
  EXPECT_EQ(unnamed.headers.get("x-adapter-id"), "org/b");
  EXPECT_THAT(engine_->last().adapter.id, HasSubstr("org--b"));
  EXPECT_FALSE(generate({{"adapter_id", "tiny"}}).headers.has("x-adapter-id"));  // the base model by its name
  EXPECT_EQ(engine_->last().adapter.id, "");
}

TEST_F(AdapterSources, TimeThatAFetchTakesCountsAgainstTheRequest) {
  const auto late = generate(on_hub("org/a", {{"max_time", 1e-6}}));
  EXPECT_EQ(late.status, 504) << late.body;
}

}  // namespace
}  // namespace graft::serving::api
