#include "recipe/scoring.h"

#include <gtest/gtest.h>

#include <cmath>

namespace graft::recipe {
namespace {

TEST(Scoring, AnswersAreComparedNormalised) {
  EXPECT_EQ(normalise_answer("  Very\n\tSpam. "), "very spam");
  EXPECT_EQ(normalise_answer(""), "");
  EXPECT_EQ(normalise_answer(" . "), "");
  EXPECT_EQ(normalise_answer("3.14"), "3.14");
}

TEST(Scoring, CountsPerLabel) {
  AnswerScore score;
  score.add("spam", "Spam");
  score.add("spam", "ham");
  score.add("spam", "no idea");
  score.add("ham", " ham.");
  EXPECT_EQ(score.rows(), 4);
  EXPECT_DOUBLE_EQ(score.accuracy(), 0.5);
  EXPECT_EQ(score.confusion().at("spam").at("no idea"), 1);
  const auto labels = score.labels();
  ASSERT_EQ(labels.size(), 2U);
  EXPECT_EQ(labels.at("spam").rows, 3);
  EXPECT_DOUBLE_EQ(labels.at("spam").precision, 1.0);
  EXPECT_DOUBLE_EQ(labels.at("spam").recall, 1.0 / 3);
  EXPECT_DOUBLE_EQ(labels.at("spam").f1, 0.5);
  EXPECT_DOUBLE_EQ(labels.at("ham").precision, 0.5);
  EXPECT_DOUBLE_EQ(labels.at("ham").recall, 1.0);
  EXPECT_DOUBLE_EQ(AnswerScore().accuracy(), 0.0);
}

TEST(Scoring, PerplexityIsTheExponentialOfTheMeanLoss) {
  EXPECT_DOUBLE_EQ(perplexity(20.0 * std::log(50257.0), 20), 50257.0);
  EXPECT_TRUE(std::isnan(perplexity(0, 0)));
  EXPECT_TRUE(std::isinf(perplexity(1e6, 1)));
}

}  // namespace
}  // namespace graft::recipe
