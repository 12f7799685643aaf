// The routes over the real engine and a model without arithmetic: what only both together show.

#include "serving/api/testing/engine_http.h"

#include <gmock/gmock.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "net/test_client.h"
#include "serving/api/json_text.h"

namespace graft::serving::api {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

using testing::EngineHttp;

TEST_F(EngineHttp, AClientThatLeavesIsInNoStepAfterTheOneItLeftIn) {
  for (const char* path : {"/", "/generate"}) {  // streamed and whole
    Gate gate;
    start({}, [&](FakeStepModel& model) {
      model.before_step = [&](auto) {
        if (++steps_ == 3) gate.pass();
        return Status();
      };
    });
    net::RawClient client(server_->port());
    ASSERT_TRUE(client.send(raw_post(path, kLong)));
    gate.wait_for_arrival();  // in the middle of the third step
    client.close();
    while (engine_->stats().cancels == 0) std::this_thread::sleep_for(milliseconds(1));
    gate.open();
    wait_until_idle();
    EXPECT_EQ(steps_.exchange(0), 3);
    server_.reset();
    engine_.reset();
  }
}

TEST_F(EngineHttp, ARequestPastItsTimeBeforeTheFirstTokenIs504) {
  start({}, [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      gate_.pass();
      return Status();
    };
  });
  net::RawClient first(server_->port());
  ASSERT_TRUE(first.send(raw_post("/generate", kLong)));
  gate_.wait_for_arrival();
  std::thread opener([&] {
    while (engine_->stats().waiting < 2) std::this_thread::sleep_for(milliseconds(1));
    std::this_thread::sleep_for(milliseconds(5));  // their time is up
    gate_.open();
  });
  net::ClientResponse openai;
  std::thread other([&] { openai = post("/v1/completions", R"({"prompt": "a", "max_time": 0.001, "stream": true})"); });
  const auto native = post("/generate", R"({"inputs": "a"})", {{"x-request-timeout-ms", "1"}});
  opener.join();
  other.join();
  EXPECT_EQ(native.status, 504);
  EXPECT_THAT(native.body, HasSubstr("\"error_type\":\"timeout\""));
  EXPECT_EQ(openai.status, 504);
  EXPECT_THAT(openai.body, HasSubstr("\"code\":\"timeout\""));
}

TEST_F(EngineHttp, ARequestPastItsTimeIsCutShort) {
  start({}, [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      std::this_thread::sleep_for(milliseconds(1));
      return Status();
    };
  });
  const auto cut = post("/v1/completions", R"({"prompt": "abc", "max_tokens": 900, "max_time": 0.05,
                                              "ignore_eos_token": true})");
  ASSERT_EQ(cut.status, 200) << cut.body;
  const auto answer = OrderedJson::parse(cut.body);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_LT(answer["usage"]["completion_tokens"], 900);
  EXPECT_EQ(post("/generate", R"({"inputs": "a"})", {{"x-request-timeout-ms", "soon"}}).status, 422);
  EXPECT_EQ(post("/v1/completions", R"({"prompt": "abc"})", {{"x-request-timeout-ms", "0"}}).status, 400);
  EXPECT_EQ(post("/v1/completions", R"({"prompt": "abc", "max_time": -1})").status, 400);
  wait_until_idle();
}

TEST_F(EngineHttp, AFullQueueIs429WithATimeToComeBack) {
  EngineLimits limits;
  limits.max_concurrent_requests = 1;
  start(limits, [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      gate_.pass();
      return Status();
    };
  });
  net::RawClient first(server_->port());
  ASSERT_TRUE(first.send(raw_post("/generate", R"({"inputs": "a", "parameters": {"max_new_tokens": 1}})")));
  gate_.wait_for_arrival();
  for (const bool openai : {false, true}) {
    const auto refused = openai ? post("/v1/completions", R"({"prompt": "a", "stream": true})")
                                : post("/generate", R"({"inputs": "a"})");
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.headers.get("Retry-After"), "1");
    EXPECT_THAT(refused.body, HasSubstr("overloaded"));
  }
  gate_.open();
  EXPECT_THAT(first.read_until("generated_text"), HasSubstr("200 OK"));
}

TEST_F(EngineHttp, OneTenantCannotFillTheQueue) {
  EngineLimits limits;
  limits.max_concurrent_requests = 2;
  limits.max_tenant_share = 0.5;
  start(limits, [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      gate_.pass();
      return Status();
    };
  });
  const std::string body = R"({"inputs": "a", "parameters": {"max_new_tokens": 1}})";
  net::RawClient first(server_->port());
  ASSERT_TRUE(first.send("POST /generate HTTP/1.1\r\nx-graft-tenant: greedy\r\nContent-Length: " +
                         std::to_string(body.size()) + "\r\n\r\n" + body));
  gate_.wait_for_arrival();
  EXPECT_EQ(post("/generate", body, {{"x-graft-tenant", "greedy"}}).status, 429);
  std::thread opener([&] { gate_.open(); });
  EXPECT_EQ(post("/generate", body, {{"Authorization", "Bearer modest"}}).status, 200);
  opener.join();
}

TEST_F(EngineHttp, TenantsDoNotSeeEachOthersPrefixes) {
  start({});
  const std::string body = R"({"inputs": "0123456789abcdefghij", "parameters": {"max_new_tokens": 2}})";
  const auto cached_after = [&](const std::string& header, const std::string& value) {
    const uint64_t before = engine_->stats().prefix_cached_tokens;
    EXPECT_EQ(post("/generate", body, {{header, value}}).status, 200);
    wait_until_idle();
    return engine_->stats().prefix_cached_tokens - before;
  };
  EXPECT_EQ(cached_after("x-graft-tenant", "one"), 0U);
  EXPECT_EQ(cached_after("x-graft-tenant", "one"), 16U);
  EXPECT_EQ(cached_after("x-graft-tenant", "two"), 0U);
  EXPECT_EQ(cached_after("Authorization", "Bearer key"), 0U);
  EXPECT_EQ(cached_after("Authorization", "Bearer key"), 16U);
}

}  // namespace
}  // namespace graft::serving::api
