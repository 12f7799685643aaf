#include "runtime/ngram_drafter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace graft::runtime {
namespace {

using Tokens = std::vector<int32_t>;

TEST(NgramDrafter, GuessesWhatFollowedBefore) {
  EXPECT_EQ(NgramDrafter().propose(Tokens{1, 2, 3, 4, 5, 9, 2, 3}, 3), (Tokens{4, 5, 9}));
  EXPECT_EQ(NgramDrafter().propose(Tokens{1, 2, 3, 4, 5, 9, 2, 3}, 1), (Tokens{4}));
  EXPECT_EQ(NgramDrafter().propose(Tokens{1, 2, 3, 4, 5, 9, 2, 3}, 0), Tokens());
}

TEST(NgramDrafter, NothingNewIsGuessed) {
  EXPECT_EQ(NgramDrafter().propose(Tokens{}, 4), Tokens());
  EXPECT_EQ(NgramDrafter().propose(Tokens{1}, 4), Tokens());
  EXPECT_EQ(NgramDrafter().propose(Tokens{1, 2, 3, 4}, 4), Tokens());
  EXPECT_EQ(NgramDrafter().propose(Tokens{1, 2, 3, 1}, 4), Tokens());  // one token is not enough
}

TEST(NgramDrafter, TheLongestRunWinsAndTheLatestPlaceAmongEquals) {
  //                                    longest v              latest v
  EXPECT_EQ(NgramDrafter().propose(Tokens{7, 1, 2, 50, 8, 1, 2, 60, 7, 1, 2}, 1), (Tokens{50}));
  EXPECT_EQ(NgramDrafter().propose(Tokens{1, 2, 50, 1, 2, 60, 1, 2}, 1), (Tokens{60}));
}

TEST(NgramDrafter, ALoopGoesRoundAgain) {
  EXPECT_EQ(NgramDrafter().propose(Tokens{9, 1, 2, 1, 2}, 5), (Tokens{1, 2, 1, 2, 1}));
  EXPECT_EQ(NgramDrafter().propose(Tokens{5, 5, 5}, 4), (Tokens{5, 5, 5, 5}));
}

TEST(NgramDrafter, GrowingAStepAtATimeFindsWhatASearchFinds) {
  std::mt19937 random(3);
  Tokens tokens;
  NgramDrafter drafter;
  for (int i = 0; i < 600; ++i) {
    tokens.push_back(static_cast<int32_t>(random() % 5));
    Tokens want;
    for (int32_t n = NgramDrafter::kLongest; n >= NgramDrafter::kShortest && want.empty(); --n) {
      for (auto at = static_cast<int32_t>(tokens.size()) - 1; at >= n && want.empty(); --at) {
        if (static_cast<int32_t>(tokens.size()) < n) break;
        if (std::equal(tokens.end() - n, tokens.end(), tokens.begin() + at - n))
          want = {tokens[static_cast<size_t>(at)]};
      }
    }
    ASSERT_EQ(drafter.propose(tokens, 1), want) << "after " << tokens.size() << " tokens";
  }
}

}  // namespace
}  // namespace graft::runtime
