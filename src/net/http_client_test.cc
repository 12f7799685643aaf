#include "net/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http_server.h"

namespace graft::net {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class HttpClient : public ::testing::Test {
 protected:
  void SetUp() override {
    Router router;
    router.add("PUT", "/headers", [](const Request& r, const ResponseWriter& w) {
      w.send(Response::text(201, std::string(r.headers.get("X-Test")) + "|" + r.body));
    });
    router.add("GET", "/redirect",
               [](const Request&, const ResponseWriter& w) { w.send({302, {{"Location", "/end"}}, ""}); });
    router.add("GET", "/end", [](const Request&, const ResponseWriter& w) { w.send(Response::text(200, "end")); });
    router.add("GET", "/hang", [this](const Request&, const ResponseWriter& w) { held_.push_back(w); });
    router.add("GET", "/stream", [](const Request&, const ResponseWriter& w) {
      w.begin(StreamHead{});
      for (int i = 0; i < 10; ++i) EXPECT_NE(w.write("piece;"), WriteState::kFull);
      w.end();
    });
    auto server = HttpServer::start({}, std::move(router));
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
  }

  std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + path;
  }

  std::vector<ResponseWriter> held_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpClient, SendsMethodHeadersAndBody) {
  ClientRequest request;
  request.method = "PUT";
  request.url = url("/headers");
  request.headers = {{"X-Test", "value"}};
  request.body = std::string("a\0b", 3);
  const auto response = http_send(request);
  ASSERT_TRUE(response.ok()) << response.error().message;
  EXPECT_EQ(response.value().status, 201);
  EXPECT_EQ(response.value().body, std::string("value|a\0b", 9));
}

TEST_F(HttpClient, FollowsRedirectsOnlyWhenAsked) {
  ClientRequest request;
  request.url = url("/redirect");
  EXPECT_EQ(http_send(request).value().status, 302);
  request.max_redirects = 3;
  const auto response = http_send(request);
  EXPECT_EQ(response.value().body, "end");
  EXPECT_FALSE(response.value().headers.has("Location"));
}

TEST_F(HttpClient, HandsTheBodyOverAsItComes) {
  std::string got;
  ClientRequest request;
  request.url = url("/stream");
  request.on_data = [&](std::string_view piece) {
    got += piece;
    return true;
  };
  ASSERT_TRUE(http_send(request).ok());
  EXPECT_EQ(got.size(), 60U);
}

TEST_F(HttpClient, TheHeadDecidesWhereTheBodyGoes) {
  for (const bool take : {true, false}) {
    std::string got;
    ClientRequest request;
    request.url = url("/stream");
    request.on_head = [&](int status, const Headers&) { return status == 200 && take; };
    request.on_data = [&](std::string_view piece) {
      got += piece;
      return true;
    };
    const auto response = http_send(request);
    ASSERT_TRUE(response.ok());
    EXPECT_EQ(got.size(), take ? 60U : 0U);
    EXPECT_EQ(response->body.size(), take ? 0U : 60U);
  }
}

TEST(HttpUrls, AreResolvedComparedAndEscaped) {
  EXPECT_EQ(resolve_url("http://h:1/a/b?c", "/d?e").value(), "http://h:1/d?e");
  EXPECT_EQ(resolve_url("http://h/a/b", "../x").value(), "http://h/x");
  EXPECT_EQ(resolve_url("http://h/a", "https://other/x").value(), "https://other/x");
  EXPECT_FALSE(resolve_url("http://h/a", "http://[").ok());
  EXPECT_TRUE(same_origin("http://H/a", "http://h:80/b"));
  EXPECT_FALSE(same_origin("http://h/", "https://h/"));
  EXPECT_FALSE(same_origin("http://h/", "http://h:8080/"));
  EXPECT_FALSE(same_origin("http://localhost/", "http://127.0.0.1/"));
  EXPECT_EQ(percent_encode("a b/é"), "a%20b/%C3%A9");
  EXPECT_EQ(percent_encode("refs/pr/1", false), "refs%2Fpr%2F1");
}

TEST_F(HttpClient, AReceiverMayStop) {
  ClientRequest request;
  request.url = url("/stream");
  request.on_data = [](std::string_view) { return false; };
  const auto response = http_send(request);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().kind, ErrorKind::kCancelled);
}

TEST_F(HttpClient, AThrowingReceiverEndsTheTransfer) {
  ClientRequest request;
  request.url = url("/stream");
  request.on_data = [](std::string_view) -> bool { throw 1; };
  EXPECT_FALSE(http_send(request).ok());
}

TEST_F(HttpClient, TimesOut) {
  ClientRequest request;
  request.url = url("/hang");
  request.timeout = 100ms;
  const auto response = http_send(request);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().kind, ErrorKind::kIo);
}

TEST_F(HttpClient, ATooLongAnswerIsAnError) {
  ClientRequest request;
  request.url = url("/stream");
  request.max_body_bytes = 30;
  EXPECT_THAT(http_send(request).error().message, HasSubstr("over 30 bytes"));
}

TEST_F(HttpClient, ErrorsNameTheUrl) {
  const std::string gone = url("/end");
  server_->stop();
  EXPECT_THAT(http_get(gone).error().message, HasSubstr(gone));
  EXPECT_EQ(http_get("file:///etc/passwd").error().kind, ErrorKind::kInvalid);
  EXPECT_EQ(http_get("").error().kind, ErrorKind::kInvalid);
}

}  // namespace
}  // namespace graft::net
