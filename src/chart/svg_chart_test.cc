#include "chart/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace graft::chart {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Chart, TicksAreRoundAndInside) {
  EXPECT_THAT(round_ticks(0, 1, 5), ElementsAre(0, DoubleEq(0.2), DoubleEq(0.4), DoubleEq(0.6), DoubleEq(0.8), 1));
  EXPECT_THAT(round_ticks(13, 121, 5), ElementsAre(50, 100));
  EXPECT_THAT(round_ticks(2, 2, 5), ElementsAre(2));
}

const ChartOptions kSmall{"l", "x", "y", 400, 200, {}, {}};

TEST(Chart, LongSeriesAreThinnedAndBadPointsLeftOut) {
  ChartSeries series{"loss", "train", {}, false, false};
  for (int i = 0; i < 100000; ++i) series.points.emplace_back(i, i % 7 == 0 ? std::nan("") : 1.0);
  const std::string svg = svg_chart({series}, kSmall);
  EXPECT_LT(svg.size(), 20000U);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(Chart, ConstantAndSinglePointsHaveAPlace) {
  const std::string one = svg_chart({{"loss", "train", {{5, 2}}, false, false}}, kSmall);
  EXPECT_THAT(one, HasSubstr("<circle"));
  EXPECT_THAT(one, Not(HasSubstr("nan")));
  const std::string flat = svg_chart({{"loss", "train", {{0, 0}, {1, 0}}, false, false}}, kSmall);
  EXPECT_THAT(flat, Not(HasSubstr("nan")));
}

TEST(Chart, SmoothingIsUnbiasedAtTheStart) {
  const auto points = smoothed({{1, 4}, {2, 4}, {3, std::nan("")}, {4, 4}}, 0.9);
  ASSERT_EQ(points.size(), 3U);
  for (const auto& point : points) EXPECT_DOUBLE_EQ(point.second, 4);
}

TEST(Chart, AHistogramCountsEveryFiniteValue) {
  std::vector<double> values = {std::nan(""), 1, 1, 1, 40.9};
  const std::string svg = svg_histogram(values, "first", kSmall);
  EXPECT_THAT(svg, HasSubstr("<title>3 from 1 to "));
  EXPECT_THAT(svg, HasSubstr("<title>1 from "));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  for (const auto& few : {std::vector<double>{}, std::vector<double>{2, 2}}) {
    EXPECT_THAT(svg_histogram(few, "first", kSmall), Not(HasSubstr("nan")));
  }
}

TEST(Chart, TheAxisBeginsAtZeroWhereAsked) {
  ChartOptions options = kSmall;
  const std::vector<ChartSeries> series = {{"a", "first", {{0, 100}, {1, 120}}, false, false}};
  EXPECT_THAT(svg_chart(series, options), Not(HasSubstr(">0</text><line")));
  options.from_zero = true;
  EXPECT_THAT(svg_chart(series, options), HasSubstr("text-anchor=\"end\">0</text>"));
}

}  // namespace
}  // namespace graft::chart
