#include "recipe/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/philox.h"

namespace graft::recipe {
namespace {

TEST(Split, WordsAreReadInAnyCase) {
  EXPECT_EQ(split_named("Train"), Split::kTrain);
  EXPECT_EQ(split_named("EVALUATION"), Split::kValidation);
  EXPECT_EQ(split_named("1"), Split::kValidation);
  EXPECT_EQ(split_named("test"), Split::kTest);
  EXPECT_EQ(split_named("3"), std::nullopt);
  EXPECT_EQ(split_named(""), std::nullopt);
}

TEST(Split, EveryGroupIsSharedOutToWithinARow) {
  PhiloxStream random(3, 1);
  for (int round = 0; round < 100; ++round) {
    std::vector<int32_t> groups(1 + random.below(300));
    for (auto& group : groups) group = static_cast<int32_t>(random.below(1 + random.below(8)));
    const double train = 0.1 + 0.9 * random.next_double();
    const double validation = (1 - train) * random.next_double();
    const std::vector<double> shares = {train, validation, 1 - train - validation};
    const auto splits = stratified_split(groups, 5, shares);
    for (int32_t group = 0; group < 8; ++group) {
      std::array<double, 3> count{};
      double rows = 0;
      for (size_t i = 0; i < groups.size(); ++i) {
        if (groups[i] != group) continue;
        ++rows;
        ++count[static_cast<size_t>(splits[i])];
      }
      for (size_t i = 0; i < 3; ++i) EXPECT_LT(std::abs(count[i] - shares[i] * rows), 1.0 + 1e-9);
    }
    EXPECT_EQ(splits, stratified_split(groups, 5, shares));
  }
}

TEST(Split, WhoGoesWhereDependsOnTheSeed) {
  const std::vector<int32_t> groups(100, 0);
  EXPECT_NE(stratified_split(groups, 1, {0.5, 0.5, 0}), stratified_split(groups, 2, {0.5, 0.5, 0}));
  const auto all = stratified_split(groups, 1, {1, 0, 0});
  EXPECT_THAT(all, testing::Each(Split::kTrain));
}

TEST(Split, ASingleRowIsTrainedOn) {
  const std::vector<int32_t> groups = {0, 1, 2};
  EXPECT_THAT(stratified_split(groups, 9, {0.7, 0.1, 0.2}), testing::Each(Split::kTrain));
}

}  // namespace
}  // namespace graft::recipe
