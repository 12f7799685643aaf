#include "runtime/vocab_kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace graft::runtime {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TEST(VocabKernels, WeightHasTheSameBitsWhereverItStands) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(0, 90);
  for (int trial = 0; trial < 50; ++trial) {
    const float distance = uniform(random);
    std::vector<float> distances(70, distance);
    std::vector<float> weights(70);
    exp_weights(distances, weights);
    for (const float weight : weights) EXPECT_EQ(std::bit_cast<uint32_t>(weight), std::bit_cast<uint32_t>(weights[0]));
  }
}

TEST(VocabKernels, WeightsAreExponentials) {
  std::vector<float> distances;
  for (float x = 0; x < 87; x += 0.0173F) distances.push_back(x);
  std::vector<float> weights(distances.size());
  exp_weights(distances, weights);
  for (size_t i = 0; i < distances.size(); ++i) {
    const double expected = std::exp(-static_cast<double>(distances[i]));
    EXPECT_NEAR(weights[i], expected, 2e-7 * expected) << distances[i];
  }
  EXPECT_EQ(weights[0], 1.0F);
}

TEST(VocabKernels, WeightOfFarTokensIsZero) {
  std::vector<float> distances{88, 1e10F, kInf};
  std::vector<float> weights(3, 1.0F);
  exp_weights(distances, weights);
  EXPECT_EQ(weights, (std::vector<float>{0, 0, 0}));
}

TEST(VocabKernels, PeakIsTheFirstLargest) {
  for (const size_t size : {1UL, 7UL, 16UL, 1023UL, 1024UL, 1025UL, 5000UL}) {
    std::vector<float> logits = random_logits(size, static_cast<uint32_t>(size));
    const auto expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
    Peak peak = find_peak(logits);
    EXPECT_TRUE(peak.finite);
    EXPECT_EQ(peak.index, static_cast<size_t>(expected));
    logits[size - 1] = logits[size / 2] = 50;
    peak = find_peak(logits);
    EXPECT_EQ(peak.index, size / 2);
    EXPECT_EQ(peak.value, 50);
  }
}

TEST(VocabKernels, PeakReportsWhatIsNotFiniteAtAnyPlace) {
  for (const float bad : {kInf, std::numeric_limits<float>::quiet_NaN()}) {
    for (size_t place = 0; place < 1100; place += 11) {
      std::vector<float> logits(1100, 1.0F);
      logits[place] = bad;
      EXPECT_FALSE(find_peak(logits).finite) << place;
      logits[place] = -kInf;
      EXPECT_TRUE(find_peak(logits).finite) << place;
    }
  }
  EXPECT_FALSE(find_peak(std::vector<float>(40, -kInf)).finite);
}

TEST(VocabKernels, SumsMatchDoublePrecision) {
  for (const size_t size : {1UL, 15UL, 1024UL, 1040UL, 4999UL}) {
    const std::vector<float> logits = random_logits(size, 3);
    const float peak = find_peak(logits).value;
    double expected = 0;
    double plain = 0;
    for (const float logit : logits) {
      expected += std::exp(static_cast<double>(logit) - static_cast<double>(peak));
      plain += static_cast<double>(logit);
    }
    EXPECT_NEAR(sum_exp(logits, peak), expected, 1e-6 * expected);
    EXPECT_NEAR(sum_double(logits), plain, 1e-9 * static_cast<double>(size));
  }
}

TEST(VocabKernels, AMaskedPeakIsThatOfTheMaskedLogits) {
  std::mt19937 random(6);
  for (const size_t size : {1UL, 31UL, 32UL, 257UL, 4999UL}) {
    for (int density = 0; density < 5; ++density) {
      std::vector<float> logits = random_logits(size, 8);
      for (float& logit : logits) logit = std::round(logit);  // ties
      std::vector<uint32_t> mask((size + 31) / 32);
      for (size_t i = 0; i < mask.size() * 32; ++i) {
        if (static_cast<int>(random() % 4) < density) mask[i / 32] |= 1U << (i % 32);
      }
      std::vector<float> masked(size);
      apply_mask(logits, mask, masked);
      for (size_t i = 0; i < size; ++i) {
        const bool allowed = (mask[i / 32] >> (i % 32) & 1U) != 0;
        EXPECT_EQ(masked[i], allowed ? logits[i] : -kInf);
      }
      const Peak expected = find_peak(masked);
      const Peak peak = find_peak(logits, mask);
      EXPECT_EQ(peak.finite, expected.finite);
      if (!expected.finite) continue;
      EXPECT_EQ(peak.value, expected.value);
      EXPECT_EQ(peak.index, expected.index);
    }
  }
}

}  // namespace
}  // namespace graft::runtime
