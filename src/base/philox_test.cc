#include "base/philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace graft {
namespace {

// Published known answers of Random123 (kat_vectors, "philox4x32 10").
static_assert(philox4x32({0, 0, 0, 0}, {0, 0}) == PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) ==
              PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
              PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

TEST(Philox, UsesIndexStreamAndSeedInTheirPublishedPlaces) {
  const PhiloxBlock expected = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  EXPECT_EQ(philox_block(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88), expected);
}

TEST(Philox, StreamEqualsItsBlocksAndStartsAnywhere) {
  PhiloxStream whole(7, 3);
  std::vector<uint32_t> drawn(12);
  for (auto& bits : drawn) bits = whole.next_u32();
  for (uint64_t block = 0; block < 3; ++block) {
    const PhiloxBlock expected = philox_block(7, 3, block);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), drawn.begin() + static_cast<int64_t>(4 * block)));
  }
  PhiloxStream tail(7, 3, 2);
  EXPECT_EQ(tail.next_u32(), drawn[8]);
}

TEST(Philox, UnitFloatsNeverReachOne) {
  EXPECT_EQ(unit_float(0), 0.0F);
  EXPECT_LT(unit_float(~0U), 1.0F);
  EXPECT_EQ(unit_double(0), 0.0);
  EXPECT_LT(unit_double(~uint64_t{0}), 1.0);
}

TEST(Philox, UnitNumbersHaveTheMomentsOfTheUniformDistribution) {
  PhiloxStream random(1, 2);
  double sum = 0;
  double squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double value = i % 2 == 0 ? random.next_double() : static_cast<double>(random.next_float());
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kDraws, 1.0 / 2, 0.005);
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 0.005);
}

TEST(Philox, BoundedIntegersAreUniform) {
  PhiloxStream random(5, 0);
  constexpr int kDraws = 60000;
  std::array<int, 6> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(6));
  double chi_squared = 0;
  for (const int count : counts) chi_squared += (count - kDraws / 6.0) * (count - kDraws / 6.0) / (kDraws / 6.0);
  EXPECT_LT(chi_squared, 20.5);  // 99.9 % of the distribution with 5 degrees of freedom
}

TEST(Philox, BoundedIntegersRejectTheBiasedTail) {
  // With this bound a plain remainder would give the lower half twice as often.
  constexpr uint64_t kBound = (uint64_t{1} << 63) + (uint64_t{1} << 62);
  PhiloxStream random(5, 1);
  int low = 0;
  constexpr int kDraws = 30000;
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t value = random.below(kBound);
    ASSERT_LT(value, kBound);
    if (value < kBound / 3) ++low;
  }
  EXPECT_NEAR(low / static_cast<double>(kDraws), 1.0 / 3, 0.02);
}

TEST(Philox, BoundOneDrawsZero) { EXPECT_EQ(PhiloxStream(0, 0).below(1), 0U); }

TEST(Philox, ShuffleIsAPermutationKeyedBySeedAndStream) {
  const auto shuffled = [](uint64_t seed, uint64_t stream) {
    std::vector<int> items(50);
    std::iota(items.begin(), items.end(), 0);
    philox_shuffle(std::span(items), seed, stream);
    return items;
  };
  std::vector<int> sorted = shuffled(1, 1);
  std::sort(sorted.begin(), sorted.end());
  std::vector<int> expected(50);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(sorted, expected);
  EXPECT_EQ(shuffled(1, 1), shuffled(1, 1));
  EXPECT_NE(shuffled(1, 1), shuffled(2, 1));
  EXPECT_NE(shuffled(1, 1), shuffled(1, 2));
}

TEST(Philox, ShuffleReachesEveryPermutationEquallyOften) {
  std::map<std::string, int> counts;
  constexpr int kDraws = 24000;
  for (uint64_t stream = 0; stream < kDraws; ++stream) {
    std::string letters = "abcd";
    philox_shuffle(std::span(letters.data(), letters.size()), 9, stream);
    ++counts[letters];
  }
  ASSERT_EQ(counts.size(), 24U);
  double chi_squared = 0;
  for (const auto& [letters, count] : counts) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_squared, 49.7);  // 99.9 % of the distribution with 23 degrees of freedom
}

}  // namespace
}  // namespace graft
