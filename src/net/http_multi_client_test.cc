#include "net/http_multi_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

#include "net/http_server.h"

namespace graft::net {
namespace {

using namespace std::chrono_literals;

class MultiClient : public ::testing::Test {
 protected:
  void SetUp() override {
    Router router;
    // Answers nobody before `count` requests are here: only a client that is truly concurrent gets through.
    router.add("GET", "/together/{count}", [this](const Request& r, const ResponseWriter& w) {
      const std::lock_guard lock(mutex_);
      held_.push_back(w);
      if (held_.size() < std::stoul(r.params.at("count"))) return;
      for (const ResponseWriter& one : held_) one.send(Response::text(200, "all"));
      held_.clear();
    });
    router.add("GET", "/hang", [this](const Request&, const ResponseWriter& w) {
      const std::lock_guard lock(mutex_);
      held_.push_back(w);
    });
    router.add("GET", "/cut", [](const Request&, const ResponseWriter& w) {
      w.begin(StreamHead{});
      EXPECT_EQ(w.write("half of "), WriteState::kOk);  // and the last copy goes away without an end()
    });
    auto server = HttpServer::start({}, std::move(router));
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
    auto client = HttpMultiClient::create();
    ASSERT_TRUE(client.ok());
    client_ = std::move(client).value();
  }
  void TearDown() override {
    server_->stop();
    held_.clear();
  }

  ClientRequest request(const std::string& path) const {
    ClientRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(server_->port()) + path;
    return request;
  }

  void run_all() {
    while (client_->in_flight() > 0) ASSERT_TRUE(client_->run(50ms).ok());
  }

  TransferFailure failure_of(ClientRequest request) {
    TransferFailure seen = TransferFailure::kNone;
    client_->start(std::move(request), [&](const Result<ClientResponse>& response, TransferFailure failure) {
      EXPECT_FALSE(response.ok());
      seen = failure;
    });
    run_all();
    return seen;
  }

  std::mutex mutex_;
  std::vector<ResponseWriter> held_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<HttpMultiClient> client_;
};

TEST_F(MultiClient, ManyExchangesAreInFlightAtOnce) {
  constexpr int kCount = 100;
  int done = 0;
  for (int i = 0; i < kCount; ++i) {
    client_->start(request("/together/" + std::to_string(kCount)), [&](Result<ClientResponse> response, auto failure) {
      ASSERT_TRUE(response.ok()) << response.error().message;
      EXPECT_EQ(response->body, "all");
      EXPECT_EQ(failure, TransferFailure::kNone);
      ++done;
    });
  }
  EXPECT_EQ(client_->in_flight(), size_t{kCount});
  run_all();
  EXPECT_EQ(done, kCount);
}

TEST_F(MultiClient, AnEndMayStartTheNext) {
  int done = 0;
  HttpMultiClient::Done next = [&](const Result<ClientResponse>& response, TransferFailure) {
    EXPECT_TRUE(response.ok());
    if (++done < 5) client_->start(request("/together/1"), next);
  };
  client_->start(request("/together/1"), next);
  run_all();
  EXPECT_EQ(done, 5);
}

TEST_F(MultiClient, FailuresHaveAKind) {
  EXPECT_EQ(failure_of(request("/cut")), TransferFailure::kCutOff);
  ClientRequest slow = request("/hang");
  slow.timeout = 50ms;
  EXPECT_EQ(failure_of(slow), TransferFailure::kTimeout);
  ClientRequest stopping = request("/cut");
  stopping.on_data = [](std::string_view) { return false; };
  EXPECT_EQ(failure_of(stopping), TransferFailure::kStopped);
  ClientRequest nonsense;
  nonsense.url = "gopher://x";
  EXPECT_EQ(failure_of(nonsense), TransferFailure::kOther);
  ClientRequest gone = request("/hang");
  server_->stop();
  EXPECT_EQ(failure_of(gone), TransferFailure::kConnect);
}

TEST_F(MultiClient, GoingAwayCutsWhatIsInFlight) {
  client_->start(request("/hang"), [](const Result<ClientResponse>&, TransferFailure) { FAIL(); });
  ASSERT_TRUE(client_->run(20ms).ok());
  client_.reset();
}

}  // namespace
}  // namespace graft::net
