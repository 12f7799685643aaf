#include "serving/admission.h"

#include <gtest/gtest.h>

namespace graft::serving {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Admission, OneTenantCannotFillTheQueue) {
  Admission admission(10, 0.6);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(admission.enter("greedy").ok());
  EXPECT_EQ(admission.enter("greedy").error().kind, ErrorKind::kOverloaded);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(admission.enter(std::to_string(i)).ok());
  EXPECT_FALSE(admission.enter("late").ok());
  EXPECT_EQ(admission.refused(), 2U);
  admission.leave("greedy", {});
  EXPECT_TRUE(admission.enter("late").ok());
  EXPECT_EQ(admission.requests(), 10);
}

TEST(Admission, RequestsWithoutATenantHaveAllPlaces) {
  Admission admission(3, 0.1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(admission.enter("").ok());
  EXPECT_FALSE(admission.enter("").ok());
  Admission small(3, 0.1);
  EXPECT_TRUE(small.enter("a").ok());  // never less than one
  EXPECT_FALSE(small.enter("a").ok());
}

TEST(Admission, RetryAfterIsTheTimeARequestTakesAtTheMeasuredRate) {
  Admission admission(1000, 1);
  Admission::Clock::time_point now{};
  EXPECT_EQ(admission.retry_after(now), seconds(1));
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(admission.enter("").ok());
  for (int i = 0; i < 100; ++i) admission.leave("", now += milliseconds(50));  // 20 a second, 200 are left
  EXPECT_EQ(admission.retry_after(now), seconds(10));
  EXPECT_EQ(admission.retry_after(now + seconds(1000)), seconds(60));  // nothing has moved since
  for (int i = 0; i < 200; ++i) admission.leave("", now += milliseconds(1));
  EXPECT_EQ(admission.retry_after(now), seconds(1));
}

}  // namespace
}  // namespace graft::serving
