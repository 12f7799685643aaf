// What hostile, broken and slow clients do to the server.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/test_client.h"

namespace graft::net {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::chrono_literals;

class Faults : public ::testing::Test {
 protected:
  // Handlers of /hold answer when their client is gone; /pour streams until it is refused.
  Router router() {
    Router r;
    r.add("GET", "/hello", [](const Request&, const ResponseWriter& w) { w.send(Response::text(200, "hello")); });
    r.add("POST", "/echo", [](Request q, const ResponseWriter& w) { w.send(Response::text(200, std::move(q.body))); });
    r.add("GET", "/hold", [this](const Request&, const ResponseWriter& w) {
      hold(w);
      w.on_disconnect([this] { note_disconnect(); });
    });
    r.add("GET", "/hold-stream", [this](const Request&, const ResponseWriter& w) {
      w.begin(StreamHead::sse());
      EXPECT_EQ(w.write("begun"), WriteState::kOk);
      hold(w);
      w.on_disconnect([this] { note_disconnect(); });
    });
    r.add("GET", "/pour", [this](const Request&, const ResponseWriter& w) {
      w.begin(StreamHead::sse());
      WriteState state = WriteState::kOk;
      while (state == WriteState::kOk) state = w.write(std::string(32 * 1024, 'x'));
      hold(w);
      poured_ = state;
    });
    return r;
  }

  std::unique_ptr<HttpServer> serve(ServerOptions options = {}) {
    auto server = HttpServer::start(std::move(options), router());
    EXPECT_TRUE(server.ok()) << server.error().message;
    return std::move(server).value();
  }

  void hold(const ResponseWriter& writer) {
    const std::lock_guard lock(mutex_);
    held_.push_back(writer);
    arrived_.notify_all();
  }

  // The writer of the first request that was held, once it has come.
  ResponseWriter held() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return !held_.empty(); });
    return held_.front();
  }

  void note_disconnect() {
    ++disconnects_;
    disconnects_.notify_all();
  }

  static void expect_alive(const HttpServer& server) {
    const auto response = http_get("http://127.0.0.1:" + std::to_string(server.port()) + "/hello");
    ASSERT_TRUE(response.ok()) << response.error().message;
    EXPECT_EQ(response.value().body, "hello");
  }

  static std::string answer_to(const HttpServer& server, std::string_view bytes) {
    RawClient client(server.port());
    EXPECT_TRUE(client.send(bytes));
    return client.read_all();
  }

  std::atomic<int> disconnects_{0};
  std::atomic<WriteState> poured_{WriteState::kOk};
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<ResponseWriter> held_;
};

TEST_F(Faults, MalformedRequestsAre400) {
  const auto server = serve();
  for (const std::string_view bytes :
       {"nonsense\r\n\r\n", "GET\r\n\r\n", "GET /hello\r\n\r\n", "GET /hello HTTP/1.1\r\nbad header\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"}) {
    EXPECT_THAT(answer_to(*server, bytes), StartsWith("HTTP/1.1 400 ")) << bytes;
  }
  expect_alive(*server);
}

TEST_F(Faults, OtherVersionsAreRefused) {
  const auto server = serve();
  EXPECT_THAT(answer_to(*server, "GET /hello HTTP/2.0\r\n\r\n"), StartsWith("HTTP/1.1 505 "));
  EXPECT_THAT(answer_to(*server, "GET /hel lo HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 505 "));
}

TEST_F(Faults, AmbiguousLengthsAreRefused) {
  const auto server = serve();
  for (const std::string_view head :
       {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: -1\r\n", "Content-Length: 5x\r\n",
        "Content-Length: 99999999999999999999999\r\n"}) {
    const std::string answer =
        answer_to(*server, "POST /echo HTTP/1.1\r\n" + std::string(head) + "\r\n0\r\n\r\nGET /hello HTTP/1.1\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 4")) << head;
    EXPECT_THAT(answer, ::testing::Not(HasSubstr("hello"))) << head;
  }
  expect_alive(*server);
}

TEST_F(Faults, TooLongHeadersAre431) {
  ServerOptions options;
  options.max_header_bytes = 1024;
  const auto server = serve(options);
  const std::string filler(5000, 'a');
  EXPECT_THAT(answer_to(*server, "GET /hello HTTP/1.1\r\nX: " + filler + "\r\n\r\n"), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(answer_to(*server, "GET /" + filler + " HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 431 "));
  expect_alive(*server);
}

TEST_F(Faults, TooLongBodiesAre413EvenWhileTheyAreSent) {
  ServerOptions options;
  options.max_body_bytes = 1000;
  const auto server = serve(options);
  const std::string body(200'000, 'b');
  EXPECT_THAT(answer_to(*server, "POST /echo HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + body),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer_to(*server, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" + body),
              StartsWith("HTTP/1.1 413 "));
  expect_alive(*server);
}

TEST_F(Faults, ASlowHeaderIs408) {
  ServerOptions options;
  options.header_timeout = 100ms;
  const auto server = serve(options);
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /hello HT"));
  EXPECT_THAT(client.read_all(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(Faults, ASlowBodyIs408HoweverOftenItDrips) {
  ServerOptions options;
  options.body_timeout = 200ms;
  const auto server = serve(options);
  RawClient client(server->port());
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nContent-Length: 100\r\n\r\n"));
  std::thread drip([&] {
    for (int i = 0; i < 10; ++i) {
      client.send("x");
      std::this_thread::sleep_for(50ms);
    }
  });
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 408 "));
  drip.join();
}

TEST_F(Faults, AnIdleConnectionIsClosed) {
  ServerOptions options;
  options.idle_timeout = 100ms;
  const auto server = serve(options);
  RawClient client(server->port());
  EXPECT_EQ(client.read_all(), "");
}

TEST_F(Faults, AClientThatLeavesIsNoticedWhileItsHandlerWorks) {
  const auto server = serve();
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /hold HTTP/1.1\r\n\r\n"));
  held();
  client.close();
  disconnects_.wait(0);
  EXPECT_EQ(disconnects_, 1);
  EXPECT_TRUE(held().disconnected());
}

TEST_F(Faults, AClientThatLeavesAStreamIsNoticed) {
  const auto server = serve();
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /hold-stream HTTP/1.1\r\n\r\n"));
  EXPECT_NE(client.read_until("begun"), "");
  client.close();
  disconnects_.wait(0);
  EXPECT_EQ(held().write("x"), WriteState::kClosed);
}

TEST_F(Faults, ALateRegistrationHearsOfTheDisconnectAtOnce) {
  const auto server = serve();
  RawClient client(server->port());
  ASSERT_TRUE(client.send("GET /hold HTTP/1.1\r\n\r\n"));
  held();
  client.close();
  disconnects_.wait(0);
  bool called = false;
  held().on_disconnect([&] { called = true; });
  EXPECT_TRUE(called);
}

TEST_F(Faults, AnAnsweredRequestHasNoDisconnect) {
  const auto server = serve();
  {
    RawClient client(server->port());
    ASSERT_TRUE(client.send("GET /hold HTTP/1.1\r\nConnection: close\r\n\r\n"));
    held().send(Response::text(200, "answer"));
    EXPECT_THAT(client.read_all(), HasSubstr("answer"));
  }
  server->stop();
  EXPECT_EQ(disconnects_, 0);
}

TEST_F(Faults, ASlowReaderFillsItsQueueAndNoMore) {
  ServerOptions options;
  options.max_stream_backlog = 32 * 1024 * 1024;  // several times what socket buffers can take
  options.write_timeout = 60s;
  const auto server = serve(options);
  RawClient client(server->port(), 4096);
  ASSERT_TRUE(client.send("GET /pour HTTP/1.1\r\n\r\n"));
  while (poured_ == WriteState::kOk) std::this_thread::sleep_for(5ms);
  EXPECT_EQ(poured_, WriteState::kFull);
  expect_alive(*server);
  EXPECT_FALSE(held().wait_writable(20ms));
  std::thread reader([&] { client.read_all(); });
  EXPECT_TRUE(held().wait_writable(20s));  // once it reads, there is room again
  held().end();
  client.finish_sending();
  reader.join();
}

TEST_F(Faults, AReaderThatTakesNothingIsCut) {
  ServerOptions options;
  options.max_stream_backlog = 64 * 1024 * 1024;
  options.write_timeout = 150ms;
  const auto server = serve(options);
  RawClient client(server->port(), 4096);
  ASSERT_TRUE(client.send("GET /pour HTTP/1.1\r\n\r\n"));
  const ResponseWriter writer = held();
  while (!writer.disconnected()) std::this_thread::sleep_for(5ms);
  expect_alive(*server);
}

TEST_F(Faults, TooManyConnectionsAreTurnedAway) {
  ServerOptions options;
  options.max_connections = 2;
  const auto server = serve(options);
  RawClient a(server->port());
  RawClient b(server->port());
  ASSERT_TRUE(a.send("GET /hello HTTP/1.1\r\n\r\n"));
  ASSERT_TRUE(b.send("GET /hello HTTP/1.1\r\n\r\n"));
  EXPECT_NE(a.read_until("hello"), "");
  EXPECT_NE(b.read_until("hello"), "");
  RawClient c(server->port());
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 503 "));
}

TEST_F(Faults, ADisconnectInTheMiddleOfARequestIsHarmless) {
  const auto server = serve();
  const std::string whole = "POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789";
  for (size_t n = 0; n < whole.size(); ++n) {
    RawClient client(server->port());
    ASSERT_TRUE(client.send(whole.substr(0, n)));
    client.close();
  }
  expect_alive(*server);
}

TEST_F(Faults, RandomlyMutatedRequestsNeverEndTheServer) {
  ServerOptions options;
  options.header_timeout = 50ms;
  options.body_timeout = 50ms;
  options.idle_timeout = 50ms;
  const auto server = serve(options);
  std::mt19937 random(7);
  const std::string seed =
      "POST /echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: identity\r\n\r\nbody"
      "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
  for (int round = 0; round < 300; ++round) {
    std::string bytes = seed;
    const int edits = 1 + static_cast<int>(random() % 6);
    for (int i = 0; i < edits; ++i) {
      const size_t where = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[where] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(where, 1 + random() % 4);
          break;
        default:
          bytes.insert(where, 1 + random() % 4, static_cast<char>(random()));
      }
    }
    RawClient client(server->port());
    client.send(bytes);
    client.finish_sending();
    const std::string answer = client.read_all();
    if (answer.empty()) continue;
    ASSERT_THAT(answer, StartsWith("HTTP/1.")) << round;
  }
  expect_alive(*server);
}

TEST_F(Faults, ManyClientsAtOnceAreAllAnswered) {
  const auto server = serve();
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      RawClient client(server->port());
      for (int i = 0; i < 50; ++i) {
        client.send("GET /hello HTTP/1.1\r\n\r\n");
        if (!client.read_until("hello").empty()) ++answered;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(answered, 400);
}

}  // namespace
}  // namespace graft::net
