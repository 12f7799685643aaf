#include "runtime/divergence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace graft::runtime {
namespace {

using testing::HasSubstr;

// Says the same row after each token, whatever came before; records how it was asked.
class Table final : public StepModel {
 public:
  Table(std::vector<std::vector<float>> rows, int64_t max_position = 1000)
      : rows_(std::move(rows)), info_{static_cast<int64_t>(rows_.front().size()), max_position, 100, 4} {}
  [[nodiscard]] const StepModelInfo& info() const override { return info_; }
  Result<std::span<const float>> step(std::span<const SequenceSlice> slices) override {
    out_.clear();
    for (const SequenceSlice& slice : slices) {
      EXPECT_EQ(slice.start, next_);
      next_ += static_cast<int64_t>(slice.tokens.size());
      EXPECT_GE(static_cast<int64_t>(slice.blocks.size()) * 4, next_);
      for (const int32_t token : slice.tokens) {
        const auto& row = rows_[static_cast<size_t>(token)];
        out_.insert(out_.end(), row.begin(), row.end());
      }
    }
    return std::span<const float>(out_);
  }
  [[nodiscard]] Result<std::shared_ptr<const AdapterWeights>> load_adapter(const std::string&) const override {
    return not_found("none");
  }
  int64_t next_ = 0;

 private:
  std::vector<std::vector<float>> rows_;
  StepModelInfo info_;
  std::vector<float> out_;
};

double expected(const std::vector<float>& p, const std::vector<float>& q) {
  double sum_p = 0;
  double sum_q = 0;
  for (const float x : p) sum_p += std::exp(x);
  for (const float x : q) sum_q += std::exp(x);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    kl += std::exp(p[i]) / sum_p * std::log(std::exp(p[i]) / sum_p / (std::exp(q[i]) / sum_q));
  }
  return kl;
}

std::vector<std::vector<float>> random_rows(uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> logit(-3, 3);
  std::vector<std::vector<float>> rows(8, std::vector<float>(8));
  for (auto& row : rows) {
    for (float& value : row) value = logit(random);
  }
  return rows;
}

TEST(Divergence, IsTheMeanOverAllPositionsOfTheTexts) {
  const auto p = random_rows(1);
  const auto q = random_rows(2);
  Table reference(p);
  Table other(q);
  std::vector<int32_t> text;
  double sum = 0;
  double largest = 0;
  for (int i = 0; i < 77; ++i) {  // more than two pieces
    text.push_back(i * 5 % 8);
    const double kl = expected(p[static_cast<size_t>(text.back())], q[static_cast<size_t>(text.back())]);
    sum += kl;
    largest = std::max(largest, kl);
  }
  const std::vector<std::vector<int32_t>> texts = {text, {}};
  const auto measured = measure_divergence({&reference}, {&other}, texts);
  ASSERT_TRUE(measured.ok()) << measured.error().message;
  EXPECT_EQ(measured->positions, 77);
  EXPECT_NEAR(measured->mean, sum / 77, 1e-6);
  EXPECT_NEAR(measured->largest, largest, 1e-6);
  EXPECT_LT(measured->same_best, 77);
}

TEST(Divergence, OfEqualModelsIsNothing) {
  Table reference(random_rows(3));
  Table other(random_rows(3));
  const std::vector<std::vector<int32_t>> texts = {{1, 2, 3}};
  const auto measured = measure_divergence({&reference}, {&other}, texts);
  ASSERT_TRUE(measured.ok());
  EXPECT_NEAR(measured->mean, 0, 1e-9);
  EXPECT_EQ(measured->same_best, 3);
}

TEST(Divergence, WhatIsNotANumberIsNoAgreement) {
  Table reference(random_rows(3));
  auto rows = random_rows(3);
  rows[1][4] = std::nanf("");
  Table other(rows);
  const std::vector<std::vector<int32_t>> texts = {{1}};
  const auto measured = measure_divergence({&reference}, {&other}, texts);
  ASSERT_TRUE(measured.ok());
  EXPECT_TRUE(std::isinf(measured->largest));
}

TEST(Divergence, LongTextsEndWhereTheSmallerCacheDoes) {
  Table reference(random_rows(1), 50);
  Table other(random_rows(2));
  const std::vector<std::vector<int32_t>> texts = {std::vector<int32_t>(200, 1)};
  const auto measured = measure_divergence({&reference}, {&other}, texts);
  ASSERT_TRUE(measured.ok());
  EXPECT_EQ(measured->positions, 50);
}

TEST(Divergence, ModelsThatCannotBeComparedAreRefused) {
  Table reference(random_rows(1));
  Table other({{0, 1}});
  EXPECT_THAT(measure_divergence({&reference}, {&other}, {}).error().message, HasSubstr("vocabularies"));
  EXPECT_FALSE(measure_divergence({&reference}, {&reference}, {}).ok());
}

}  // namespace
}  // namespace graft::runtime
