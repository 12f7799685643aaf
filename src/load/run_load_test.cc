#include "load/run_load.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include "load/arrivals.h"
#include "load/summary.h"
#include "net/http_server.h"
#include "serving/api/testing/api_test.h"

namespace graft::load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using namespace std::chrono_literals;

// Against our own API over the fake engine.
class LoadOnGraft : public serving::api::testing::ApiTest {
 protected:
  LoadOptions options(Api api) const {
    LoadOptions options;
    options.url = url("");
    options.api = api;
    options.requests = 20;
    options.concurrency = 4;
    options.warmup = 2;
    options.prompt_tokens = 5;
    options.max_tokens = 12;
    if (api != Api::kLorax) options.models = {"tiny"};
    return options;
  }

  static LoadRun run(const LoadOptions& options) {
    auto result = run_load(options);
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() ? std::move(result).value() : LoadRun{};
  }
};

TEST_F(LoadOnGraft, CountsEveryRequestAndTokenOfEachApi) {
  for (const Api api : {Api::kOpenAi, Api::kOpenAiChat, Api::kLorax}) {
    for (const bool stream : {true, false}) {
      LoadOptions asked = options(api);
      asked.stream = stream;
      const size_t before = engine_->submitted().size();
      const LoadRun seen = run(asked);
      const Summary summary = summarise(seen);
      EXPECT_EQ(summary.answered, 20);
      EXPECT_EQ(summary.failed, 0) << (seen.error_texts.empty() ? "" : seen.error_texts.begin()->second);
      EXPECT_EQ(summary.output_tokens, 20 * 12);
      EXPECT_GE(summary.prompt_tokens, 20 * 5);
      EXPECT_EQ(summary.first_token.count, stream ? 20 : 0);
      EXPECT_EQ(engine_->submitted().size() - before, 22U);  // the warm-up's are not measured
      EXPECT_LE(seen.most_in_flight, 4);
      for (const RequestRecord& one : seen.requests) {
        EXPECT_LE(one.due, one.sent);
        if (stream) {
          EXPECT_LE(one.sent, one.first);
          EXPECT_LE(one.first, one.end);
        }
      }
    }
  }
}

TEST_F(LoadOnGraft, AdaptersTakeTurns) {
  LoadOptions asked = options(Api::kLorax);
  asked.models = {"a", "b"};
  asked.requests = 4;
  asked.warmup = 0;
  asked.concurrency = 1;
  EXPECT_EQ(summarise(run(asked)).answered, 4);
  std::vector<std::string> adapters;
  for (const auto& request : engine_->submitted()) adapters.push_back(request.adapter.id);
  EXPECT_THAT(adapters, ElementsAre("a", "b", "a", "b"));
}

TEST_F(LoadOnGraft, AFullQueueIsCountedByItsType) {
  LoadOptions asked = options(Api::kLorax);
  asked.warmup = 0;
  asked.stream = false;
  engine_->set_overloaded(true);
  const LoadRun seen = run(asked);
  EXPECT_THAT(summarise(seen).errors, ElementsAre(Pair("http 429 overloaded", 20)));
  asked.warmup = 1;
  const auto none = run_load(asked);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("no request of the warm-up was answered (http 429 overloaded: "));
}

TEST_F(LoadOnGraft, AFailureInsideAStreamIsCounted) {
  LoadOptions asked = options(Api::kLorax);
  asked.warmup = 0;
  engine_->fail_after(3);
  EXPECT_THAT(summarise(run(asked)).errors, ElementsAre(Pair("error in the answer: generation", 20)));
}

// The point of an open loop: while the server stands still, arrivals go on, and their waiting is in the latencies.
TEST_F(LoadOnGraft, ASlowServerCannotHideItsQueue) {
  LoadOptions asked = options(Api::kLorax);
  asked.warmup = 0;
  asked.rate = 400;
  asked.concurrency = 1;
  engine_->allow_tokens(0);
  // Time runs since before the first call, so by then every request is due, though only the first one can be sent.
  const double last_due = poisson_arrivals(asked.requests, asked.rate, asked.seed).back();
  std::optional<std::chrono::steady_clock::time_point> first_call;
  const auto result = run_load(asked, [&](int64_t) {
    const auto now = std::chrono::steady_clock::now();
    if (!first_call) first_call = now;
    if (std::chrono::duration<double>(now - *first_call).count() > last_due) engine_->allow_tokens(-1);
  });
  ASSERT_TRUE(result.ok());
  const auto due = [](const RequestRecord& one) { return one.due; };
  const LoadRun& seen = result.value();
  EXPECT_EQ(seen.most_in_flight, 1);
  EXPECT_GT(seen.requests.front().end, due(seen.requests.back()));
  for (size_t i = 1; i < seen.requests.size(); ++i) {
    EXPECT_GE(seen.requests[i].sent, seen.requests[i - 1].end);
    EXPECT_LT(due(seen.requests[i]), seen.requests.front().end);
  }
}

TEST_F(LoadOnGraft, WithoutABoundArrivalsDoNotWaitForAnswers) {
  LoadOptions asked = options(Api::kLorax);
  asked.warmup = 0;
  asked.rate = 10'000;
  asked.concurrency = 0;
  engine_->allow_tokens(0);
  asked.timeout = 20s;
  const auto result = run_load(asked, [&](int64_t) {
    if (engine_->running() == 20) engine_->allow_tokens(-1);
  });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->most_in_flight, 20);
  EXPECT_EQ(summarise(result.value()).answered, 20);
}

// A server that fails in every way that a client can see.
class LoadOnAFailingServer : public ::testing::Test {
 protected:
  void SetUp() override {
    net::Router router;
    router.add("POST", "/generate_stream",
               [this](const net::Request& request, const net::ResponseWriter& writer) { answer(request, writer); });
    auto server = net::HttpServer::start({}, std::move(router));
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
    options_.url = "http://127.0.0.1:" + std::to_string(server_->port());
    options_.api = Api::kLorax;
    options_.warmup = 0;
    options_.timeout = 1500ms;
  }
  void TearDown() override {
    server_->stop();
    held_.clear();
  }

  void answer(const net::Request& request, const net::ResponseWriter& writer) {
    const auto has = [&](const char* mode) { return request.body.find(mode) != std::string::npos; };
    if (has("refuse")) {
      writer.send(net::Response::json(429, R"({"error":"full","error_type":"overloaded"})"));
    } else if (has("break")) {
      writer.send(net::Response::text(500, "oh no"));
    } else if (has("hang up")) {
      writer.begin(net::StreamHead::sse());
      EXPECT_EQ(writer.write(token(1)), net::WriteState::kOk);
    } else if (has("stall")) {
      writer.begin(net::StreamHead::sse());
      EXPECT_EQ(writer.write(token(1)), net::WriteState::kOk);
      held_.push_back(writer);
    } else if (has("stop short")) {
      writer.begin(net::StreamHead::sse());
      EXPECT_EQ(writer.write(token(1)), net::WriteState::kOk);
      writer.end();
    } else if (has("mumble")) {
      writer.begin(net::StreamHead::sse());
      EXPECT_EQ(writer.write(net::sse_event("{not json")), net::WriteState::kOk);
      writer.end();
    } else {
      writer.begin(net::StreamHead::sse());
      EXPECT_EQ(writer.write(token(1) + token(2) + last(3)), net::WriteState::kOk);
      writer.end();
    }
  }

  static std::string token(int id) {
    return net::sse_event(nlohmann::json{{"token", {{"id", id}}}, {"generated_text", nullptr}}.dump());
  }
  static std::string last(int id) {
    return net::sse_event(nlohmann::json{{"token", {{"id", id}}}, {"generated_text", "x"}}.dump());
  }

  std::vector<net::ResponseWriter> held_;
  std::unique_ptr<net::HttpServer> server_;
  LoadOptions options_;
};

TEST_F(LoadOnAFailingServer, EachFailureHasItsType) {
  for (const char* mode : {"refuse", "break", "hang up", "stall", "stop short", "mumble", "fine", "fine"}) {
    options_.prompts.push_back({mode, nullptr, 0});
  }
  options_.requests = static_cast<int64_t>(options_.prompts.size());
  options_.concurrency = 8;
  const auto run = run_load(options_);
  ASSERT_TRUE(run.ok()) << run.error().message;
  const Summary summary = summarise(run.value());
  EXPECT_EQ(summary.answered, 2);
  EXPECT_EQ(summary.output_tokens, 6);
  EXPECT_THAT(summary.errors,
              UnorderedElementsAre(Pair("http 429 overloaded", 1), Pair("http 500", 1), Pair("connection cut", 1),
                                   Pair("timeout", 1), Pair("an answer without its end", 1),
                                   Pair("an event that is not JSON", 1)));
  EXPECT_EQ(run->error_texts.at("http 429 overloaded"), "full");
  EXPECT_EQ(run->error_texts.at("http 500"), "oh no");
}

// A port that is taken and that nobody listens on: one that a server has left may be another program's by now.
class DeafPort {
 public:
  DeafPort() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(socket_, generic, size), 0);
    EXPECT_EQ(::getsockname(socket_, generic, &size), 0);
    number_ = ntohs(address.sin_port);
  }
  ~DeafPort() { ::close(socket_); }
  DeafPort(const DeafPort&) = delete;
  DeafPort& operator=(const DeafPort&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int socket_;
  int number_ = 0;
};

TEST_F(LoadOnAFailingServer, ThatIsGoneIsSaidAtOnce) {
  const DeafPort gone;
  options_.url = "http://127.0.0.1:" + std::to_string(gone.number());
  options_.warmup = 1;
  const auto run = run_load(options_);
  ASSERT_FALSE(run.ok());
  EXPECT_THAT(run.error().message, HasSubstr("no connection"));
}

}  // namespace
}  // namespace graft::load
