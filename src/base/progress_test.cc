#include "base/progress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

namespace graft {
namespace {

using namespace std::chrono_literals;

class ProgressTest : public ::testing::Test {
 protected:
  Progress::Options options(ProgressStyle style, int64_t total) {
    Progress::Options result;
    result.style = style;
    result.label = "training";
    result.total = total;
    result.columns = 100;
    result.now = [this] { return now_; };
    return result;
  }
  std::string take() {
    std::string text = out_.str();
    out_.str("");
    return text;
  }

  Progress::Clock::time_point now_{1000s};
  std::ostringstream out_;
};

TEST_F(ProgressTest, BarIsRedrawnInPlaceWithTimeLeft) {
  Progress progress(out_, options(ProgressStyle::kBar, 100));
  now_ += 10s;
  progress.update(25, "loss 1.5");
  EXPECT_EQ(take(), "\rtraining [======..................] step 25/100  loss 1.5  30s left\x1b[K");
  now_ += 10ms;
  progress.update(26, "loss 1.4");
  EXPECT_EQ(take(), "") << "drawn again within a tenth of a second";
  now_ += 30s;
  progress.update(50, "loss 1.3");
  EXPECT_NE(take().find("step 50/100  loss 1.3  40s left"), std::string::npos);
}

TEST_F(ProgressTest, LastStepIsAlwaysDrawn) {
  Progress progress(out_, options(ProgressStyle::kLines, 2));
  progress.update(1, "a");
  take();
  now_ += 1s;
  progress.update(2, "b");
  EXPECT_EQ(take(), "training step 2/2  b  took 1s\n");
}

TEST_F(ProgressTest, LinesComeEveryFiveSeconds) {
  Progress progress(out_, options(ProgressStyle::kLines, 1000));
  for (int i = 1; i <= 100; ++i) {
    now_ += 100ms;
    progress.update(i, "");
  }
  const std::string text = take();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST_F(ProgressTest, NarrowTerminalNeverWraps) {
  auto narrow = options(ProgressStyle::kBar, 100);
  narrow.columns = 30;
  Progress progress(out_, narrow);
  now_ += 1s;
  progress.update(1, "loss 1.2345  123 tokens/s  and much more");
  const std::string text = take();
  ASSERT_EQ(text.front(), '\r');
  EXPECT_EQ(text.find("\x1b[K"), 30U);
}

TEST_F(ProgressTest, NoteStandsAboveTheBar) {
  Progress progress(out_, options(ProgressStyle::kBar, 10));
  progress.update(1, "");
  take();
  progress.note("checkpoint written");
  EXPECT_EQ(take().rfind("\r\x1b[Kcheckpoint written\n\rtraining [", 0), 0U);
}

TEST_F(ProgressTest, QuietPrintsNothing) {
  Progress progress(out_, options(ProgressStyle::kQuiet, 10));
  progress.update(10, "loss");
  progress.note("hello");
  progress.finish();
  EXPECT_EQ(take(), "");
}

TEST_F(ProgressTest, ResumedWorkDoesNotCountIntoTheSpeed) {
  auto resumed = options(ProgressStyle::kLines, 100);
  resumed.done = 90;
  Progress progress(out_, resumed);
  now_ += 5s;
  progress.update(95, "");
  EXPECT_EQ(take(), "training step 95/100  5s left\n");
}

TEST_F(ProgressTest, TimeBeforeItWasMadeCountsIntoTheSpeed) {
  auto begun = options(ProgressStyle::kLines, 10);
  begun.elapsed = 3;
  Progress progress(out_, begun);
  progress.update(1, "");
  EXPECT_EQ(take(), "training step 1/10  27s left\n");
}

TEST_F(ProgressTest, FinishEndsTheLineOnce) {
  {
    Progress progress(out_, options(ProgressStyle::kBar, 10));
    progress.update(4, "");
    take();
    progress.finish();
    EXPECT_EQ(take(), "\n");
  }
  EXPECT_EQ(take(), "");
}

TEST(FormatDuration, PicksTheUnit) {
  EXPECT_EQ(format_duration(0.4), "0s");
  EXPECT_EQ(format_duration(59.6), "1m 00s");
  EXPECT_EQ(format_duration(3723), "1h 02m");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::nan("")), "?");
}

}  // namespace
}  // namespace graft
