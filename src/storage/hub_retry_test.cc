#include <gtest/gtest.h>

#include <sstream>

#include "base/test_python.h"
#include "storage/hub_client.h"

namespace graft::storage {
namespace {

using std::chrono::seconds;

constexpr int64_t kNow = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110

seconds asked(const std::string& header, const std::string& date = "") {
  net::Headers headers = {{"Retry-After", header}};
  if (!date.empty()) headers.add("Date", date);
  return std::chrono::duration_cast<seconds>(retry_after(headers, kNow));
}

TEST(RetryAfter, IsANumberOfSecondsOrADate) {
  EXPECT_EQ(asked("120"), seconds(120));
  EXPECT_EQ(asked("Sun, 06 Nov 1994 08:50:37 GMT"), seconds(60));
  EXPECT_EQ(asked("Sunday, 06-Nov-94 08:50:37 GMT"), seconds(60));
  EXPECT_EQ(asked("Sun Nov  6 08:50:37 1994"), seconds(60));
  EXPECT_EQ(asked("Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:50:30 GMT"), seconds(7));
}

TEST(RetryAfter, IsBounded) {
  EXPECT_EQ(asked("Sun, 06 Nov 1994 08:49:30 GMT"), seconds(0)) << "in the past";
  EXPECT_EQ(asked("Sun, 06 Nov 2094 08:49:30 GMT"), seconds(86400));
  EXPECT_EQ(asked("99999999999"), seconds(86400));
  EXPECT_EQ(retry_after({}, kNow), seconds(0));
  for (const char* header :
       {"", "-5", "soon", "1.5", ":", "Sun, 99 Nov 1994 08:50:37 GMT", "99999999999999999999999"}) {
    EXPECT_EQ(asked(header), seconds(0)) << header;
  }
}

TEST(RetryAfter, DatesAreThoseThatPythonWrites) {
  std::istringstream lines(run_python(R"(
import random, time
from email.utils import formatdate
random.seed(3)
for _ in range(200):
    t = random.randrange(0, 4102444800)
    print(t, formatdate(t, usegmt=True), sep="\t")
    print(t, time.asctime(time.gmtime(t)), sep="\t")
)"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const size_t tab = line.find('\t');
    EXPECT_EQ(net::parse_http_date(line.substr(tab + 1)), std::stoll(line.substr(0, tab))) << line;
  }
  EXPECT_EQ(count, 400);
}

}  // namespace
}  // namespace graft::storage
