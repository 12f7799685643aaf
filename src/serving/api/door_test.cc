// API keys, CORS, trace ids, draining.

#include <gmock/gmock.h>

#include <thread>

#include "serving/api/gatekeeper.h"
#include "serving/api/testing/api_test.h"
#include "serving/api/trace.h"

namespace graft::serving::api {
namespace {

using testing::ApiTest;
using ::testing::HasSubstr;
using ::testing::Not;

class Door : public ApiTest {};

TEST_F(Door, EveryRouteButHealthWantsTheKey) {
  ApiConfig config;
  config.api_keys = {"first", "second"};
  start(config);
  for (const char* path : {"/health", "/ping", "/startup"}) EXPECT_EQ(get(path).status, 200) << path;
  const OrderedJson body{{"inputs", "hello"}, {"prompt", "hello"}};
  for (const char* path : {"/generate", "/", "/v1/completions", "/tokenize", "/nowhere"}) {
    for (const char* authorization : {"", "Bearer wrong", "Bearer ", "first", "Bearer first2", "Basic first"}) {
      const auto refused = post(path, body, {{"Authorization", authorization}});
      EXPECT_EQ(refused.status, 401) << path << authorization;
      EXPECT_EQ(refused.headers.get("WWW-Authenticate"), "Bearer");
      if (std::string_view(path).starts_with("/v1")) {
        EXPECT_EQ(refused.json["error"]["code"], "invalid_api_key");
        EXPECT_EQ(refused.json["error"]["type"], "invalid_request_error");
      } else {
        EXPECT_EQ(refused.json["error_type"], "authentication");
        EXPECT_TRUE(refused.json["error"].is_string());
      }
    }
  }
  for (const char* path : {"/metrics", "/info", "/v1/models"}) EXPECT_EQ(get(path).status, 401) << path;
  for (const char* key : {"Bearer first", "bearer second"}) {
    EXPECT_EQ(post("/generate", body, {{"Authorization", key}}).status, 200) << key;
  }
  EXPECT_EQ(engine_->last().tenant, "second");
  EXPECT_EQ(post("/generate", body, {{"Authorization", "Bearer first"}, {"x-graft-tenant", "acme"}}).status, 200);
  EXPECT_EQ(engine_->last().tenant, "acme");
}

TEST_F(Door, KeysAreComparedWhole) {
  EXPECT_TRUE(is_api_key("abc", {"x", "abc"}));
  EXPECT_FALSE(is_api_key("ab", {"abc"}));
  EXPECT_FALSE(is_api_key("abcd", {"abc"}));
  EXPECT_FALSE(is_api_key("", {"abc"}));
  EXPECT_FALSE(is_api_key("abc", {}));
}

TEST_F(Door, BrowsersOfAllowedOriginsMayCall) {
  ApiConfig config;
  config.api_keys = {"key"};
  config.cors.allow_origins = {"https://console.example"};
  config.cors.allow_headers = {"Authorization", "X-Mine"};
  config.cors.expose_headers = {"x-request-id"};
  config.cors.allow_credentials = true;
  start(config);
  const net::Headers asked{{"Origin", "https://console.example"},
                           {"Access-Control-Request-Method", "POST"},
                           {"Access-Control-Request-Headers", "authorization"}};
  const auto preflight = send("OPTIONS", "/v1/chat/completions", {}, asked);
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers.get("Access-Control-Allow-Origin"), "https://console.example");
  EXPECT_EQ(preflight.headers.get("Access-Control-Allow-Headers"), "Authorization, X-Mine");
  EXPECT_EQ(preflight.headers.get("Access-Control-Allow-Credentials"), "true");
  EXPECT_THAT(std::string(preflight.headers.get("Access-Control-Allow-Methods")), HasSubstr("POST"));
  const auto refused = send("GET", "/info", {}, asked);  // a page may read why
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.headers.get("Access-Control-Expose-Headers"), "x-request-id");
  EXPECT_FALSE(send("OPTIONS", "/generate", {}, {{"Origin", "https://evil.example"}})
                   .headers.has("Access-Control-Allow-Origin"));
}

TEST_F(Door, TraceIdsComeBack) {
  const net::Headers mine{{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
                          {"x-request-id", "my-id"}};
  for (const char* path : {"/generate", "/generate_stream", "/nowhere", "/v1/completions"}) {
    const auto answer = post(path, {{"inputs", "hello"}, {"prompt", "hello"}}, mine);
    EXPECT_EQ(answer.headers.get("x-request-id"), "my-id") << path;
    const std::string trace(answer.headers.get("traceparent"));
    EXPECT_TRUE(trace.size() == 55 && trace.starts_with("00-0af7651916cd43dd8448eb211c80319c-") &&
                trace.ends_with("-01"))
        << path << trace;
    EXPECT_THAT(trace, Not(HasSubstr("b7ad6b7169203331")));  // the span is ours
  }
  const auto fresh = get("/health");
  const std::string trace(fresh.headers.get("traceparent"));
  EXPECT_TRUE(parse_traceparent(trace)) << trace;
  ASSERT_EQ(trace.size(), 55U);
  EXPECT_EQ(fresh.headers.get("x-request-id"), trace.substr(3, 32));
  EXPECT_NE(get("/health").headers.get("x-request-id"), fresh.headers.get("x-request-id"));
}

TEST(Trace, OnlyWellFormedParentsAreTaken) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_EQ(parse_traceparent(good)->trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_TRUE(parse_traceparent("cc" + good.substr(2) + "-what-comes-later"));
  for (const std::string& bad : std::vector<std::string>{
           "", good + "-more", "ff" + good.substr(2), "00-" + std::string(32, '0') + good.substr(35),
           good.substr(0, 36) + std::string(16, '0') + "-01", good.substr(0, 54),
           "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "cc" + good.substr(2) + ".x"}) {
    EXPECT_FALSE(parse_traceparent(bad)) << bad;
  }
  net::Headers odd{{"x-request-id", "has a space"}};
  EXPECT_NE(trace_headers(odd).get("x-request-id"), "has a space");
}

TEST_F(Door, DrainingFinishesWhatRunsAndRefusesTheRest) {
  engine_->allow_tokens(3);
  net::RawClient stream(server_->port());
  const std::string body = R"({"inputs":"hello"})";
  ASSERT_TRUE(stream.send("POST /generate_stream HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
                          "\r\n\r\n" + body));
  EXPECT_NE(stream.read_until(" world"), "");
  std::thread stopper([&] { server_->stop(std::chrono::seconds(20)); });
  while (get("/health").status != 503) std::this_thread::yield();
  const auto refused = post("/v1/completions", {{"prompt", "hello"}});
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.get("Retry-After"), "1");
  EXPECT_EQ(get("/metrics").status, 200);
  engine_->allow_tokens(-1);
  EXPECT_THAT(stream.read_all(), HasSubstr("<|endoftext|>"));
  stopper.join();
}

}  // namespace
}  // namespace graft::serving::api
