#include "net/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft::net {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

Request request(std::string method, std::string target) {
  Request r;
  r.method = std::move(method);
  r.target = std::move(target);
  return r;
}

Router sample_router() {
  const Handler none = [](const Request&, const ResponseWriter&) {};
  Router router;
  router.add("GET", "/", none);
  router.add("POST", "/", none);
  router.add("GET", "/v1/models", none);
  router.add("GET", "/v1/models/{model*}", none);
  router.add("GET", "/users/{id}/posts/{post}", none);
  return router;
}

TEST(Router, MatchesLiteralPathsByMethod) {
  const Router router = sample_router();
  Request get = request("GET", "/v1/models?x=1");
  EXPECT_NE(router.match(get).handler, nullptr);
  Request root = request("POST", "/");
  EXPECT_NE(router.match(root).handler, nullptr);
}

TEST(Router, UnknownPathHasNoAllowedMethods) {
  Request r = request("GET", "/nowhere");
  const auto match = sample_router().match(r);
  EXPECT_EQ(match.handler, nullptr);
  EXPECT_EQ(match.allow, "");
}

TEST(Router, WrongMethodNamesTheRightOnes) {
  Request r = request("DELETE", "/");
  const auto match = sample_router().match(r);
  EXPECT_EQ(match.handler, nullptr);
  EXPECT_EQ(match.allow, "GET, POST, HEAD, OPTIONS");
}

TEST(Router, HeadIsAnsweredByGet) {
  const Router router = sample_router();
  Request r = request("HEAD", "/v1/models");
  EXPECT_NE(router.match(r).handler, nullptr);
}

TEST(Router, ParametersAreDecodedAfterSplitting) {
  const Router router = sample_router();
  Request r = request("GET", "/users/a%2Fb/posts/%C3%A9");
  ASSERT_NE(router.match(r).handler, nullptr);
  EXPECT_THAT(r.params, ElementsAre(Pair("id", "a/b"), Pair("post", "\xC3\xA9")));
}

TEST(Router, RestParameterTakesSlashes) {
  const Router router = sample_router();
  Request r = request("GET", "/v1/models/org/name");
  ASSERT_NE(router.match(r).handler, nullptr);
  EXPECT_EQ(r.params["model"], "org/name");
}

TEST(Router, TooLongAndTooShortPathsDoNotMatch) {
  const Router router = sample_router();
  Request longer = request("GET", "/users/1/posts/2/3");
  EXPECT_EQ(router.match(longer).handler, nullptr);
  Request shorter = request("GET", "/users/1/posts");
  EXPECT_EQ(router.match(shorter).handler, nullptr);
  Request hollow = request("GET", "/users//posts/2");
  EXPECT_EQ(router.match(hollow).handler, nullptr);
}

TEST(Http, PercentDecodingLeavesBadEscapes) {
  EXPECT_EQ(percent_decode("%41%4g%4"), "A%4g%4");
  EXPECT_EQ(percent_decode("a%00b"), std::string("a\0b", 3));
}

TEST(Http, TargetsMadeForProxiesLoseTheirHost) {
  EXPECT_EQ(origin_form("/a?b=http://c/"), "/a?b=http://c/");
  EXPECT_EQ(origin_form("http://host:80/a/b?c"), "/a/b?c");
  EXPECT_EQ(origin_form("http://host"), "/");
  EXPECT_EQ(origin_form("http://host?q"), "/?q");
  EXPECT_EQ(origin_form("*"), "/*");
  EXPECT_EQ(origin_form(""), "/");
}

TEST(Http, HeaderSafeEscapesWhatIsNotVisibleAscii) {
  EXPECT_EQ(header_safe("plain/id-1 x"), "plain/id-1 x");
  EXPECT_EQ(header_safe("\xC3\xA9\r\nX: y"), "%C3%A9%0D%0AX: y");
}

TEST(Http, SseEventCarriesEveryLine) {
  EXPECT_EQ(sse_event("{}"), "data: {}\n\n");
  EXPECT_EQ(sse_event("a\nb"), "data: a\ndata: b\n\n");
}

TEST(Http, HeadersIgnoreCase) {
  Headers headers{{"Content-Type", "a"}, {"content-type", "b"}};
  EXPECT_EQ(headers.get("CONTENT-TYPE"), "a");
  headers.set("content-TYPE", "c");
  EXPECT_THAT(std::vector(headers.begin(), headers.end()), ElementsAre(Pair("content-TYPE", "c")));
}

}  // namespace
}  // namespace graft::net
