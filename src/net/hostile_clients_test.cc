// Many rude clients at once: each is answered or cut within its bound, and nothing of them stays behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/test_client.h"

namespace graft::net {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Hostile : public ::testing::Test {
 protected:
  void start(ServerOptions options) {
    Router router;
    router.add("GET", "/hello", [](const Request&, const ResponseWriter& w) { w.send(Response::text(200, "hello")); });
    router.add("POST", "/echo",
               [](Request q, const ResponseWriter& w) { w.send(Response::text(200, std::move(q.body))); });
    router.add("GET", "/pour", [](const Request&, const ResponseWriter& w) {
      w.begin(StreamHead::sse());
      while (w.write(std::string(32 * 1024, 'x')) == WriteState::kOk) continue;
    });
    auto server = HttpServer::start(std::move(options), std::move(router));
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
  }

  void expect_alive() const {
    const auto response = http_get("http://127.0.0.1:" + std::to_string(server_->port()) + "/hello");
    ASSERT_TRUE(response.ok()) << response.error().message;
    EXPECT_EQ(response.value().body, "hello");
  }

  void wait_until_quiet() const {
    for (int i = 0; i < 20000 && server_->active_requests() > 0; ++i) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(server_->active_requests(), 0);
  }

  std::vector<std::unique_ptr<RawClient>> connect(int count, int receive_buffer = 0) const {
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<RawClient>(server_->port(), receive_buffer));
      EXPECT_TRUE(clients.back()->connected());
    }
    return clients;
  }

  std::unique_ptr<HttpServer> server_;
};

TEST_F(Hostile, SlowLorisOnManyConnectionsHoldsUpNobody) {
  ServerOptions options;
  options.header_timeout = 300ms;
  start(options);
  const auto clients = connect(100);
  for (const auto& client : clients) ASSERT_TRUE(client->send("POST /echo HTTP/1.1\r\nHost: x\r\n"));
  expect_alive();
  // A header that never ends, one letter at a time: the time counts from its first byte.
  for (int i = 0; i < 3; ++i) {
    for (const auto& client : clients) client->send("x");
    std::this_thread::sleep_for(20ms);
  }
  for (const auto& client : clients) EXPECT_THAT(client->read_all(), StartsWith("HTTP/1.1 408 "));
  expect_alive();
}

TEST_F(Hostile, EndlessHeadersAndBodiesAreCut) {
  ServerOptions options;
  options.max_header_bytes = 2048;
  options.max_body_bytes = 4096;
  start(options);
  for (const char* head : {"GET /hello HTTP/1.1\r\n", "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    RawClient client(server_->port());
    ASSERT_TRUE(client.send(head));
    const std::string piece = std::string(head).starts_with("GET") ? "x: " + std::string(60, 'y') + "\r\n"
                                                                   : "40\r\n" + std::string(64, 'z') + "\r\n";
    bool taken = true;
    for (int i = 0; i < 1000 && taken; ++i) taken = client.send(piece);
    EXPECT_THAT(client.read_all(), ::testing::AnyOf(StartsWith("HTTP/1.1 431 "), StartsWith("HTTP/1.1 413 ")));
  }
  expect_alive();
}

TEST_F(Hostile, AnEndlessPipelineIsReadNoFurtherThanItIsAnswered) {
  ServerOptions options;
  options.write_timeout = 200ms;
  start(options);
  RawClient client(server_->port(), 4096);
  const std::string body(1000, 'b');
  const std::string request = "POST /echo HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + body;
  std::thread sender([&] {  // until the socket is full or closed; it never reads
    for (int i = 0; i < 20'000 && client.send(request); ++i) continue;
  });
  sender.join();  // the server's write timed out, so the socket was closed
  wait_until_quiet();
  expect_alive();
}

TEST_F(Hostile, PipelinedRequestsAreAnsweredInOrderHoweverTheyAreCut) {
  start({});
  const std::string requests =
      "POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\none"
      "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
      "GET /nowhere HTTP/1.1\r\n\r\n"
      "POST /echo HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthree";
  for (const size_t cut : {size_t{1}, size_t{7}, size_t{40}, requests.size()}) {
    RawClient client(server_->port());
    for (size_t at = 0; at < requests.size(); at += cut) ASSERT_TRUE(client.send(requests.substr(at, cut)));
    const std::string answers = client.read_all();
    const size_t one = answers.find("\r\n\r\none");
    const size_t two = answers.find("\r\n\r\ntwo");
    const size_t missing = answers.find("HTTP/1.1 404");
    const size_t three = answers.find("\r\n\r\nthree");
    EXPECT_TRUE(one < two && two < missing && missing < three && three != std::string::npos) << cut << answers;
  }
}

TEST_F(Hostile, HalfClosedSocketsAreClosed) {
  start({});
  const auto clients = connect(50);
  for (size_t i = 0; i < clients.size(); ++i) {
    const std::string_view part = i % 3 == 0   ? ""
                                  : i % 3 == 1 ? "GET /hel"
                                               : "POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf";
    ASSERT_TRUE(clients[i]->send(part));
    clients[i]->finish_sending();
  }
  for (const auto& client : clients) EXPECT_EQ(client->read_all(), "");  // there is nobody to answer
  wait_until_quiet();
  expect_alive();
}

TEST_F(Hostile, StalledReadersOfStreamsAreCutAndTheirMemoryIsBounded) {
  ServerOptions options;
  options.write_timeout = 200ms;
  options.max_stream_backlog = 256 * 1024;
  start(options);
  const auto clients = connect(20, 4096);
  for (const auto& client : clients) ASSERT_TRUE(client->send("GET /pour HTTP/1.1\r\n\r\n"));
  expect_alive();
  wait_until_quiet();
  expect_alive();
}

TEST_F(Hostile, ResetConnectionsLeaveNothingBehind) {
  start({});
  for (int round = 0; round < 100; ++round) {
    RawClient client(server_->port());
    client.reset_on_close();
    ASSERT_TRUE(client.send("GET /hello HTTP/1.1\r\n\r\nGET /pour HTTP/1.1\r\n\r\nPOST /echo HT"));
    client.close();
  }
  wait_until_quiet();
  expect_alive();
}

TEST_F(Hostile, TheGuardAnswersInsteadOfTheRoute) {
  ServerOptions options;
  std::atomic<int> logged{0};
  options.cors.allow_origins = {"*"};
  options.cors.expose_headers = {"x-request-id"};
  options.guard = [](const Request& request) -> std::optional<Response> {
    if (request.headers.get("Authorization") == "yes") return std::nullopt;
    return Response::text(401, "no");
  };
  options.standing_headers = [](Request& request) {
    request.headers.set("x-request-id", "fixed");
    return Headers{{"x-request-id", "fixed"}};
  };
  options.log = [&](const Exchanged& exchanged) {
    EXPECT_EQ(exchanged.standing.get("x-request-id"), "fixed");
    EXPECT_EQ(exchanged.path, "/hello");
    EXPECT_TRUE(exchanged.status == 401 || exchanged.status == 200 || exchanged.status == 204);
    ++logged;
  };
  start(options);
  ClientRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(server_->port()) + "/hello";
  request.headers = {{"Origin", "https://page.example"}};
  const auto refused = http_send(request);
  EXPECT_EQ(refused.value().status, 401);
  EXPECT_EQ(refused.value().headers.get("x-request-id"), "fixed");
  EXPECT_EQ(refused.value().headers.get("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(refused.value().headers.get("Access-Control-Expose-Headers"), "x-request-id");
  request.method = "OPTIONS";  // a preflight carries no credentials
  const auto preflight = http_send(request);
  EXPECT_EQ(preflight.value().status, 204);
  EXPECT_THAT(std::string(preflight.value().headers.get("Access-Control-Allow-Headers")), HasSubstr("Authorization"));
  request.method = "GET";
  request.headers.add("Authorization", "yes");
  EXPECT_EQ(http_send(request).value().body, "hello");
  server_->stop(1s);
  EXPECT_EQ(logged, 3);
}

}  // namespace
}  // namespace graft::net
