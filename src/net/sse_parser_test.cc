#include "net/sse_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "net/http.h"

namespace graft::net {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> events(std::string_view stream, size_t piece) {
  std::vector<std::string> found;
  SseParser parser([&](std::string_view data) { found.emplace_back(data); });
  for (size_t at = 0; at < stream.size(); at += piece) EXPECT_TRUE(parser.push(stream.substr(at, piece)));
  return found;
}

TEST(SseParser, FindsTheSameEventsWhereverTheStreamIsCut) {
  const std::string stream =
      "\xEF\xBB\xBF"
      "data: one\n\n: a comment\n\ndata:two\r\ndata:  lines\r\n\r\nevent: x\rid: 3\rdata\r\r"
      "data: [DONE]\n\ndata: cut off\n";
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    EXPECT_THAT(events(stream, piece), ElementsAre("one", "two\n lines", "", "[DONE]")) << piece;
  }
}

TEST(SseParser, ReadsWhatTheServerWrites) {
  for (const std::string payload : {"{}", "a\nb", " spaces ", ""}) {
    EXPECT_THAT(events(sse_event(payload), 3), ElementsAre(payload));
  }
}

TEST(SseParser, AnEventThatNeverEndsIsRefused) {
  SseParser parser([](std::string_view) {}, 1000);
  bool ok = true;
  for (int i = 0; i < 100 && ok; ++i) ok = parser.push("data: 0123456789012345\n");
  EXPECT_FALSE(ok);
}

}  // namespace
}  // namespace graft::net
