#include "net/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "net/http_client.h"
#include "net/test_client.h"

namespace graft::net {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using namespace std::chrono_literals;

std::unique_ptr<HttpServer> serve(Router router, ServerOptions options = {}) {
  auto server = HttpServer::start(std::move(options), std::move(router));
  EXPECT_TRUE(server.ok()) << server.error().message;
  return std::move(server).value();
}

Router echo_router() {
  Router router;
  router.add("GET", "/hello", [](const Request&, const ResponseWriter& w) { w.send(Response::text(200, "hello")); });
  router.add("POST", "/echo",
             [](Request r, const ResponseWriter& w) { w.send(Response::text(200, std::move(r.body))); });
  router.add("GET", "/throws", [](const Request&, const ResponseWriter&) { throw std::runtime_error("secret"); });
  router.add("GET", "/drops", [](const Request&, const ResponseWriter&) {});
  return router;
}

std::string url(const HttpServer& server, const std::string& path) {
  return "http://127.0.0.1:" + std::to_string(server.port()) + path;
}

TEST(HttpServer, AnswersOnAFreePort) {
  const auto server = serve(echo_router());
  ASSERT_GT(server->port(), 0);
  const auto response = http_get(url(*server, "/hello"));
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response.value().status, 200);
  EXPECT_EQ(response.value().body, "hello");
  EXPECT_EQ(response.value().headers.get("content-length"), "5");
  EXPECT_THAT(std::string(response.value().headers.get("date")), EndsWith("GMT"));
}

TEST(HttpServer, APortInUseIsNamedWithARemedy) {
  const auto server = serve(echo_router());
  ServerOptions options;
  options.port = server->port();
  const auto second = HttpServer::start(options, echo_router());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().kind, ErrorKind::kIo);
  EXPECT_THAT(second.error().message, HasSubstr("127.0.0.1:" + std::to_string(server->port())));
  EXPECT_THAT(second.error().message, HasSubstr("in use; choose another"));
}

TEST(HttpServer, AHostNameIsRefused) {
  ServerOptions options;
  options.host = "not an address";
  const auto server = HttpServer::start(options, Router());
  ASSERT_FALSE(server.ok());
  EXPECT_EQ(server.error().kind, ErrorKind::kInvalid);
}

TEST(HttpServer, KeepsAConnectionForFurtherRequests) {
  const auto server = serve(echo_router());
  RawClient client(server->port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
    EXPECT_THAT(client.read_until("hello"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
  ASSERT_TRUE(client.send("GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n"));
  EXPECT_THAT(client.read_all(), HasSubstr("Connection: close\r\n"));
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  const auto server = serve(echo_router());
  RawClient client(server->port());
  std::string all;
  for (int i = 0; i < 20; ++i) {
    const std::string body = "body-" + std::to_string(i) + ";";
    all += "POST /echo HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  ASSERT_TRUE(client.send(all));
  for (int i = 0; i < 20; ++i) EXPECT_NE(client.read_until("body-" + std::to_string(i) + ";"), "");
}

TEST(HttpServer, SpeaksHttp10) {
  const auto server = serve(echo_router());
  RawClient plain(server->port());
  ASSERT_TRUE(plain.send("GET /hello HTTP/1.0\r\n\r\n"));
  const std::string answer = plain.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.0 200 OK\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nhello"));

  RawClient keep(server->port());
  ASSERT_TRUE(keep.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_THAT(keep.read_until("hello"), HasSubstr("Connection: keep-alive\r\n"));
  ASSERT_TRUE(keep.send("GET /hello HTTP/1.0\r\n\r\n"));
  EXPECT_THAT(keep.read_all(), EndsWith("hello"));
}

TEST(HttpServer, ReadsChunkedBodiesAndBodiesInSmallPieces) {
  const auto server = serve(echo_router());
  RawClient client(server->port());
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  EXPECT_THAT(client.read_until("abcde"), HasSubstr("Content-Length: 5\r\n"));
  for (const char c : std::string("POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz")) {
    ASSERT_TRUE(client.send(std::string(1, c)));
  }
  EXPECT_NE(client.read_until("xyz"), "");
}

TEST(HttpServer, LargeBodiesGoBothWays) {
  const auto server = serve(echo_router());
  const std::string body(3 * 1024 * 1024 + 17, 'b');
  const auto response = http_post_json(url(*server, "/echo"), body);
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response.value().body, body);
}

TEST(HttpServer, SaysContinueToThoseWhoAsk) {
  const auto server = serve(echo_router());
  RawClient client(server->port());
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(client.send("ok"));
  EXPECT_THAT(client.read_until("ok", 5s), StartsWith("HTTP/1.1 200 OK"));
}

TEST(HttpServer, TakesTargetsMadeForProxies) {
  const auto server = serve(echo_router());
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET http://elsewhere/hello HTTP/1.1\r\n\r\n"));
  EXPECT_NE(client.read_until("\r\n\r\nhello"), "");
  ASSERT_TRUE(client.send("OPTIONS * HTTP/1.1\r\nConnection: close\r\n\r\n"));
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 404 "));
}

TEST(HttpServer, HeadHasNoBodyButItsLength) {
  const auto server = serve(echo_router());
  RawClient client(server->port());
  ASSERT_TRUE(client.send("HEAD /hello HTTP/1.1\r\nConnection: close\r\n\r\n"));
  const std::string answer = client.read_all();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST(HttpServer, UnknownPathsAndMethodsAreErrors) {
  const auto server = serve(echo_router());
  EXPECT_EQ(http_get(url(*server, "/nowhere")).value().status, 404);
  const auto response = http_get(url(*server, "/echo"));
  EXPECT_EQ(response.value().status, 405);
  EXPECT_EQ(response.value().headers.get("allow"), "POST, OPTIONS");
}

TEST(HttpServer, AThrowingHandlerIs500AndTheServerLives) {
  const auto server = serve(echo_router());
  for (int i = 0; i < 3; ++i) {
    const auto response = http_get(url(*server, "/throws"));
    EXPECT_EQ(response.value().status, 500);
    EXPECT_THAT(response.value().body, Not(HasSubstr("secret")));
  }
  EXPECT_EQ(http_get(url(*server, "/hello")).value().status, 200);
}

TEST(HttpServer, AnUnansweredRequestIs500) {
  const auto server = serve(echo_router());
  EXPECT_EQ(http_get(url(*server, "/drops")).value().status, 500);
}

TEST(HttpServer, ErrorsTakeTheFormThatOptionsSay) {
  ServerOptions options;
  options.error_response = [](std::string_view path, int status, std::string_view) {
    return Response::json(status, "{\"at\":\"" + std::string(path) + "\"}");
  };
  const auto server = serve(echo_router(), options);
  EXPECT_EQ(http_get(url(*server, "/no%20where")).value().body, "{\"at\":\"/no where\"}");
}

TEST(HttpServer, HandlersMayAnswerLaterFromAnotherThread) {
  std::thread later;
  Router router;
  router.add("GET", "/later", [&](const Request&, const ResponseWriter& w) {
    later = std::thread([w] {
      std::this_thread::sleep_for(20ms);
      w.send(Response::text(200, "first"));
      w.send(Response::text(200, "second"));
    });
  });
  const auto server = serve(std::move(router));
  EXPECT_EQ(http_get(url(*server, "/later")).value().body, "first");
  later.join();
}

TEST(HttpServer, HeaderValuesCannotSplitAResponse) {
  Router router;
  router.add("GET", "/", [](const Request&, const ResponseWriter& w) {
    Response response = Response::text(200, "x");
    response.headers.add("X-Evil", "a\r\nSet-Cookie: b");
    w.send(std::move(response));
  });
  const auto server = serve(std::move(router));
  const auto response = http_get(url(*server, "/"));
  EXPECT_FALSE(response.value().headers.has("Set-Cookie"));
  EXPECT_EQ(response.value().headers.get("X-Evil"), "a  Set-Cookie: b");
}

TEST(HttpServer, CorsAnswersTheOriginsItIsToldOf) {
  ServerOptions options;
  options.cors.allow_origins = {"https://good.example"};
  const auto server = serve(echo_router(), options);
  ClientRequest request;
  request.method = "OPTIONS";
  request.url = url(*server, "/echo");
  request.headers = {{"Origin", "https://good.example"}};
  const auto preflight = http_send(request);
  EXPECT_EQ(preflight.value().status, 204);
  EXPECT_EQ(preflight.value().headers.get("Access-Control-Allow-Origin"), "https://good.example");
  request.headers = {{"Origin", "https://bad.example"}};
  EXPECT_FALSE(http_send(request).value().headers.has("Access-Control-Allow-Origin"));
}

TEST(HttpServer, StreamsInChunksAndKeepsTheConnection) {
  Router router = echo_router();
  router.add("GET", "/stream", [](const Request&, const ResponseWriter& w) {
    w.begin(StreamHead::sse());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(w.write(sse_event(std::to_string(i))), WriteState::kOk);
    w.end();
    EXPECT_EQ(w.write("late"), WriteState::kClosed);
  });
  const auto server = serve(std::move(router));
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /stream HTTP/1.1\r\n\r\n"));
  const std::string answer = client.read_until("0\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/event-stream\r\n"));
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(answer, EndsWith("9\r\ndata: 0\n\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"));
  ASSERT_TRUE(client.send("GET /hello HTTP/1.1\r\n\r\n"));
  EXPECT_NE(client.read_until("hello"), "");
}

TEST(HttpServer, StreamsToHttp10WithoutChunks) {
  Router router;
  router.add("GET", "/stream", [](const Request&, const ResponseWriter& w) {
    w.begin(StreamHead::sse());
    EXPECT_EQ(w.write("ab"), WriteState::kOk);
    EXPECT_EQ(w.write("cd"), WriteState::kOk);
    w.end();
  });
  const auto server = serve(std::move(router));
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /stream HTTP/1.0\r\n\r\n"));
  EXPECT_THAT(client.read_all(), EndsWith("\r\n\r\nabcd"));
}

TEST(HttpServer, AHeldStreamMayStillFailWithAStatus) {
  Router router;
  router.add("GET", "/fails", [](const Request&, const ResponseWriter& w) {
    StreamHead head = StreamHead::sse();
    head.hold = 20s;
    EXPECT_TRUE(w.begin(head));
    EXPECT_TRUE(w.send(Response::text(418, "early")));
    EXPECT_FALSE(w.send(Response::text(200, "again")));
  });
  router.add("GET", "/works", [](const Request&, const ResponseWriter& w) {
    StreamHead head = StreamHead::sse();
    head.hold = 20s;
    EXPECT_TRUE(w.begin(head));
    EXPECT_EQ(w.write("piece"), WriteState::kOk);
    EXPECT_FALSE(w.send(Response::text(500, "late")));
    w.end();
  });
  const auto server = serve(std::move(router));
  EXPECT_EQ(http_get(url(*server, "/fails")).value().status, 418);
  EXPECT_EQ(http_get(url(*server, "/works")).value().body, "piece");
}

TEST(HttpServer, AHeldHeaderGoesOutWhenItsTimeIsUp) {
  std::atomic<bool> seen{false};
  std::thread later;
  Router router;
  router.add("GET", "/stream", [&](const Request&, const ResponseWriter& w) {
    StreamHead head = StreamHead::sse();
    head.hold = 20ms;
    w.begin(head);
    later = std::thread([&seen, w] {
      seen.wait(false);
      EXPECT_FALSE(w.send(Response::text(500, "too late")));
      EXPECT_EQ(w.write("x"), WriteState::kOk);
      w.end();
    });
  });
  const auto server = serve(std::move(router));
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /stream HTTP/1.1\r\n\r\n"));
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  seen = true;
  seen.notify_all();
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "1\r\nx\r\n0\r\n\r\n");
  later.join();
}

TEST(HttpServer, AStreamThatIsDroppedIsCutShort) {
  Router router;
  router.add("GET", "/stream", [](const Request&, const ResponseWriter& w) {
    w.begin(StreamHead::sse());
    EXPECT_EQ(w.write("half"), WriteState::kOk);
  });
  const auto server = serve(std::move(router));
  EXPECT_FALSE(http_get(url(*server, "/stream")).ok());
}

TEST(HttpServer, AQuietStreamGetsHeartbeats) {
  Router router;
  std::atomic<bool> done{false};
  std::thread writer;
  router.add("GET", "/stream", [&](const Request&, const ResponseWriter& w) {
    w.begin(StreamHead::sse(30ms));
    writer = std::thread([&done, w] {
      done.wait(false);
      w.end();
    });
  });
  const auto server = serve(std::move(router));
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /stream HTTP/1.1\r\n\r\n"));
  EXPECT_NE(client.read_until("3\r\n:\n\n\r\n"), "");
  EXPECT_NE(client.read_until("3\r\n:\n\n\r\n"), "");
  done = true;
  done.notify_all();
  EXPECT_NE(client.read_until("0\r\n\r\n"), "");
  writer.join();
}

TEST(HttpServer, StopLetsARequestFinishAndRefusesNewOnes) {
  std::atomic<int> phase{0};
  Router router;
  router.add("GET", "/slow", [&](const Request&, const ResponseWriter& w) {
    phase = 1;
    phase.notify_all();
    phase.wait(1);
    w.send(Response::text(200, "finished"));
  });
  const auto server = serve(std::move(router));
  RawClient client(server->port());
  RawClient idle(server->port());
  ASSERT_TRUE(client.send("GET /slow HTTP/1.1\r\n\r\n"));
  phase.wait(0);
  std::thread stopper([&] { server->stop(20s); });
  EXPECT_EQ(idle.read_all(), "");  // an idle connection is closed at once
  phase = 2;
  phase.notify_all();
  const std::string answer = client.read_all();
  EXPECT_THAT(answer, EndsWith("finished"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  stopper.join();
  EXPECT_FALSE(http_get(url(*server, "/slow")).ok());
}

TEST(HttpServer, StopCutsWhatOutlastsItsGrace) {
  std::atomic<bool> told{false};
  std::atomic<bool> arrived{false};
  std::vector<ResponseWriter> kept;
  Router router;
  router.add("GET", "/never", [&](const Request&, const ResponseWriter& w) {
    w.on_disconnect([&] { told = true; });
    kept.push_back(w);
    arrived = true;
    arrived.notify_all();
  });
  const auto server = serve(std::move(router));
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /never HTTP/1.1\r\n\r\n"));
  arrived.wait(false);
  server->stop(50ms);
  EXPECT_EQ(client.read_all(), "");
  EXPECT_TRUE(told);
  kept.front().send(Response::text(200, "too late"));  // a writer may outlive its server
}

}  // namespace
}  // namespace graft::net
