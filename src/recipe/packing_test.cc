#include "recipe/packing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/philox.h"

namespace graft::recipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int32_t> random_lengths(uint64_t seed, size_t count, uint64_t longest) {
  PhiloxStream random(seed, 99);
  std::vector<int32_t> lengths(count);
  for (auto& length : lengths) length = static_cast<int32_t>(2 + random.below(longest - 1));
  return lengths;
}

Example random_example(PhiloxStream& random) {
  Example example;
  const auto length = static_cast<size_t>(2 + random.below(9));
  for (size_t i = 0; i < length; ++i) {
    example.tokens.push_back(static_cast<int32_t>(random.below(1000)));
    example.supervised.push_back(static_cast<uint8_t>(random.below(2)));
  }
  return example;
}

int64_t tokens_of(const std::vector<int32_t>& lengths, const std::vector<int32_t>& indices) {
  int64_t sum = 0;
  for (const int32_t index : indices) sum += lengths[static_cast<size_t>(index)];
  return sum;
}

void expect_each_once(const std::vector<std::vector<int32_t>>& groups, size_t count) {
  std::vector<int32_t> all;
  for (const auto& group : groups) all.insert(all.end(), group.begin(), group.end());
  std::sort(all.begin(), all.end());
  std::vector<int32_t> expected(count);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

TEST(Packing, LabelsAreTheNextSupervisedTokenOfTheSameSequence) {
  const std::vector<Example> examples = {{{5, 6, 7}, {0, 1, 1}, 1}, {{8, 9}, {1, 0}, 2}, {{1, 2, 3}, {0, 0, 1}, 3}};
  const PackedBatch batch = pack(examples, std::vector<int32_t>{2, 0, 1});
  EXPECT_THAT(batch.tokens, ElementsAre(1, 2, 3, 5, 6, 7, 8, 9));
  EXPECT_THAT(batch.labels, ElementsAre(kIgnoreLabel, 3, kIgnoreLabel, 6, 7, kIgnoreLabel, kIgnoreLabel, kIgnoreLabel));
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 3, 6, 8));
}

TEST(Packing, PackedBatchesAreTheirExamplesOneAfterTheOther) {
  PhiloxStream random(1, 0);
  for (int round = 0; round < 50; ++round) {
    std::vector<Example> examples(1 + random.below(8));
    int64_t supervised = 0;
    for (auto& example : examples) {
      example = random_example(random);
      supervised += supervised_tokens(example);
    }
    std::vector<int32_t> indices(examples.size());
    std::iota(indices.begin(), indices.end(), 0);
    philox_shuffle(std::span(indices), 5, static_cast<uint64_t>(round));
    const PackedBatch packed = pack(examples, indices);
    PackedBatch joined;
    joined.cu_seqlens.push_back(0);
    for (const int32_t index : indices) {
      const PackedBatch single = pack(examples, std::vector<int32_t>{index});
      joined.tokens.insert(joined.tokens.end(), single.tokens.begin(), single.tokens.end());
      joined.labels.insert(joined.labels.end(), single.labels.begin(), single.labels.end());
      joined.cu_seqlens.push_back(static_cast<int32_t>(joined.tokens.size()));
    }
    EXPECT_EQ(packed.tokens, joined.tokens);
    EXPECT_EQ(packed.labels, joined.labels);
    EXPECT_EQ(packed.cu_seqlens, joined.cu_seqlens);
    EXPECT_EQ(std::count_if(packed.labels.begin(), packed.labels.end(), [](int32_t id) { return id != kIgnoreLabel; }),
              supervised);
  }
}

TEST(Packing, EpochsHoldEveryExampleOnceWithinTheTokenBudget) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto lengths = random_lengths(seed, 1 + seed * 37, 300);
    const PackingSettings settings = {.step_tokens = 256, .step_rows = 0, .micro_batch_tokens = 300, .seed = seed};
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      const auto steps = epoch_steps(lengths, settings, epoch);
      expect_each_once(steps, lengths.size());
      for (const auto& step : steps) EXPECT_TRUE(tokens_of(lengths, step) <= 256 || step.size() == 1);
    }
  }
}

TEST(Packing, StepsAreWellFilled) {
  const auto lengths = random_lengths(3, 3000, 400);
  const PackingSettings settings = {.step_tokens = 2048, .step_rows = 0, .micro_batch_tokens = 2048, .seed = 3};
  const auto steps = epoch_steps(lengths, settings, 0);
  const double total = std::accumulate(lengths.begin(), lengths.end(), 0.0);
  EXPECT_GT(total / (2048.0 * static_cast<double>(steps.size())), 0.97);
}

TEST(Packing, StepsInRowsHaveExactlyThatManyButTheLast) {
  const auto lengths = random_lengths(1, 43, 50);
  const PackingSettings settings = {.step_tokens = 0, .step_rows = 8, .micro_batch_tokens = 64, .seed = 1};
  const auto steps = epoch_steps(lengths, settings, 0);
  expect_each_once(steps, 43);
  ASSERT_EQ(steps.size(), 6U);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(steps[i].size(), 8U);
  EXPECT_EQ(steps[5].size(), 3U);
}

TEST(Packing, TheOrderIsAFunctionOfSeedAndEpoch) {
  const auto lengths = random_lengths(1, 200, 50);
  PackingSettings settings = {.step_tokens = 128, .step_rows = 0, .micro_batch_tokens = 64, .seed = 1};
  const auto first = epoch_steps(lengths, settings, 0);
  EXPECT_EQ(first, epoch_steps(lengths, settings, 0));
  EXPECT_NE(first, epoch_steps(lengths, settings, 1));
  settings.seed = 2;
  EXPECT_NE(first, epoch_steps(lengths, settings, 0));
}

TEST(Packing, MicroBatchesHoldTheStepWithinTheirBudget) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto lengths = random_lengths(seed, 30 + seed, 200);
    std::vector<int32_t> indices(lengths.size());
    std::iota(indices.begin(), indices.end(), 0);
    const auto batches = micro_batches(lengths, indices, 200);
    expect_each_once(batches, lengths.size());
    for (const auto& batch : batches) EXPECT_LE(tokens_of(lengths, batch), 200);
    for (size_t a = 0; a < batches.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        EXPECT_GT(tokens_of(lengths, batches[a]) + tokens_of(lengths, batches[b]), 200) << "two would fit into one";
      }
    }
  }
}

TEST(Packing, MicroBatchesAreThoseOfTheDefinition) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const auto lengths = random_lengths(seed, 5 + 9 * seed, 2 + seed * 3);
    std::vector<int32_t> indices(lengths.size());
    std::iota(indices.begin(), indices.end(), 0);
    philox_shuffle(std::span(indices), seed, 0);
    std::vector<int32_t> longest_first = indices;
    const auto length_of = [&](int32_t index) { return lengths[static_cast<size_t>(index)]; };
    std::stable_sort(longest_first.begin(), longest_first.end(),
                     [&](int32_t a, int32_t b) { return length_of(a) > length_of(b); });
    std::vector<std::vector<int32_t>> bins;
    for (const int32_t index : longest_first) {
      auto best = bins.end();
      for (auto bin = bins.begin(); bin != bins.end(); ++bin) {
        const int64_t used = tokens_of(lengths, *bin);
        if (used + length_of(index) <= 70 && (best == bins.end() || used > tokens_of(lengths, *best))) best = bin;
      }
      if (best == bins.end()) best = bins.insert(bins.end(), std::vector<int32_t>());
      best->push_back(index);
    }
    const auto by_place = [&](int32_t a, int32_t b) {
      return std::find(indices.begin(), indices.end(), a) < std::find(indices.begin(), indices.end(), b);
    };
    for (auto& bin : bins) std::sort(bin.begin(), bin.end(), by_place);
    std::sort(bins.begin(), bins.end(), [&](const auto& a, const auto& b) { return by_place(a[0], b[0]); });
    EXPECT_EQ(micro_batches(lengths, indices, 70), bins);
  }
}

TEST(Packing, MicroBatchesKeepTheGivenOrder) {
  const std::vector<int32_t> lengths = {4, 4, 4, 4};
  EXPECT_THAT(micro_batches(lengths, std::vector<int32_t>{3, 1, 2, 0}, 8),
              ElementsAre(ElementsAre(3, 1), ElementsAre(2, 0)));
}

bool same(const StepPlan& a, const StepPlan& b) { return a.micro_batches == b.micro_batches && a.epoch == b.epoch; }

TEST(TrainingOrder, AFreshOneGoesOnExactlyAtTheCursor) {
  const auto lengths = random_lengths(1, 60, 50);
  for (const PackingSettings settings :
       {PackingSettings{.step_tokens = 200, .step_rows = 0, .micro_batch_tokens = 64, .seed = 1},
        PackingSettings{.step_tokens = 0, .step_rows = 7, .micro_batch_tokens = 64, .seed = 1}}) {
    TrainingOrder whole(lengths, settings, "digest");
    const int64_t steps = whole.steps_in(3);
    std::vector<StepPlan> plans;
    std::vector<std::string> cursors;
    for (int64_t i = 0; i < steps; ++i) {
      cursors.push_back(whole.cursor().dump());
      plans.push_back(whole.next());
    }
    EXPECT_DOUBLE_EQ(plans.back().epoch, 3.0);
    for (size_t start = 0; start < plans.size(); start += 3) {
      TrainingOrder resumed(lengths, settings, "digest");
      ASSERT_TRUE(resumed.seek(nlohmann::json::parse(cursors[start])).ok());
      for (size_t i = start; i < plans.size(); ++i) ASSERT_TRUE(same(resumed.next(), plans[i])) << start << " " << i;
    }
  }
}

TEST(Pack, AClassIsTheLabelOfTheLastToken) {
  Example first{{1, 2, 3}, {0, 0, 0}, 1, 4};
  Example second{{5}, {0}, 2, 0};
  const std::vector<Example> examples = {first, second};
  const PackedBatch batch = pack(examples, std::vector<int32_t>{0, 1});
  EXPECT_EQ(batch.labels, (std::vector<int32_t>{kIgnoreLabel, kIgnoreLabel, 4, 0}));
}

TEST(TrainingOrder, EveryEpochHoldsEveryExampleOnce) {
  const auto lengths = random_lengths(2, 100, 50);
  TrainingOrder order(lengths, {.step_tokens = 300, .step_rows = 0, .micro_batch_tokens = 100, .seed = 4}, "d");
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::vector<int32_t>> all;
    double at = 0;
    while (at < static_cast<double>(epoch + 1)) {
      const StepPlan plan = order.next();
      all.insert(all.end(), plan.micro_batches.begin(), plan.micro_batches.end());
      at = plan.epoch;
    }
    expect_each_once(all, lengths.size());
  }
}

TEST(TrainingOrder, ForeignAndDamagedCursorsAreRefused) {
  TrainingOrder order({5, 5, 5}, {.step_tokens = 10, .step_rows = 0, .micro_batch_tokens = 10, .seed = 1}, "mine");
  const auto error = [&](const char* cursor) {
    const Status status = order.seek(nlohmann::json::parse(cursor));
    return status.ok() ? "no error" : status.error().message;
  };
  EXPECT_EQ(error(R"({"epoch": 1, "step": 1, "data": "mine"})"), "no error");
  EXPECT_THAT(error(R"({"epoch": 1, "step": 1, "data": "other"})"), HasSubstr("not those the run began with"));
  EXPECT_THAT(error(R"({"epoch": 0, "step": 2, "data": "mine"})"), HasSubstr("the step size has changed"));
  for (const char* damaged :
       {"{}", "[]", "3", R"({"epoch": -1, "step": 0, "data": "mine"})", R"({"epoch": 0, "step": 1.5, "data": "mine"})",
        R"({"epoch": 0, "step": 0})", R"({"epoch": 9000000000000000000, "step": 0, "data": "mine"})"}) {
    EXPECT_THAT(error(damaged), HasSubstr("damaged")) << damaged;
  }
}

}  // namespace
}  // namespace graft::recipe
