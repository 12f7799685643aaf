#include "training/optimizers/updater.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "base/test_directory.h"
#include "base/test_python.h"

namespace graft::training {
namespace {

using testing::HasSubstr;

constexpr size_t kElements = 4400;

struct Weights {
  explicit Weights(const Optimization& optimization) {
    PhiloxStream random(2, 0);
    for (float& value : parameters) value = random.next_float() - 0.5F;
    auto made = Updater::create(optimization,
                                {{.name = "layers.0.q_proj.lora_A", .rows = 4, .columns = 1050},
                                 {.name = "layers.0.q_proj.lora_B", .offset = 4200, .rows = 4, .columns = 50}},
                                parameters, gradients, run_tasks_here);
    EXPECT_TRUE(made.ok()) << made.error().message;
    if (made.ok()) updater.emplace(std::move(made).value());
  }

  double step(uint64_t number) {
    PhiloxStream random(3, number);
    for (float& value : gradients) value = random.next_float() - 0.5F;
    return updater->step({0.01, 5.0});
  }

  std::vector<float> parameters = std::vector<float>(kElements);
  std::vector<float> gradients = std::vector<float>(kElements);
  std::optional<Updater> updater;
};

const std::vector<OptimizerSettings> kAll = {
    AdamWSettings{.weight_decay = 0.1}, AdamW8bitSettings{}, LionSettings{},
    AdafactorSettings{.beta1 = 0.9},    MuonSettings{},      SgdSettings{.momentum = 0.9}};

TEST(Updater, ALoadedStateContinuesWithTheSameBits) {
  for (const auto& settings : kAll) {
    for (const double ema : {0.0, 0.9}) {
      const Optimization optimization{.optimizer = settings, .ema_decay = ema};
      TestDirectory directory(TestDirectory::in_memory());
      Weights whole(optimization);
      for (uint64_t i = 0; i < 4; ++i) whole.step(i);
      whole.updater->show_average();
      ASSERT_TRUE(whole.updater->save(directory.path().string()).ok());
      for (uint64_t i = 4; i < 8; ++i) whole.step(i);

      Weights resumed(optimization);
      resumed.step(99);
      const Status loaded = resumed.updater->load(directory.path().string());
      ASSERT_TRUE(loaded.ok()) << loaded.error().message;
      for (uint64_t i = 4; i < 8; ++i) resumed.step(i);
      EXPECT_EQ(whole.parameters, resumed.parameters) << optimizer_name(settings);
      EXPECT_EQ(whole.updater->show_average(), ema > 0);
      resumed.updater->show_average();
      EXPECT_EQ(whole.parameters, resumed.parameters) << optimizer_name(settings);
    }
  }
}

TEST(Updater, AnotherOptimizersCheckpointIsRefusedByName) {
  for (const auto& saved : kAll) {
    TestDirectory directory(TestDirectory::in_memory());
    ASSERT_TRUE(Weights({.optimizer = saved}).updater->save(directory.path().string()).ok());
    for (const auto& other : kAll) {
      const Status loaded = Weights({.optimizer = other}).updater->load(directory.path().string());
      ASSERT_EQ(loaded.ok(), other.index() == saved.index());
      if (loaded.ok()) continue;
      EXPECT_THAT(loaded.error().message, HasSubstr("is of the optimizer " + std::string(optimizer_name(saved))));
      EXPECT_THAT(loaded.error().message, HasSubstr("trainer.optimizer.type"));
    }
    const Status averaged = Weights({.optimizer = saved, .ema_decay = 0.5}).updater->load(directory.path().string());
    ASSERT_FALSE(averaged.ok());
    EXPECT_THAT(averaged.error().message, HasSubstr("trainer.ema_decay"));
  }
}

TEST(Updater, GradientsThatAreNotFiniteChangeNothing) {
  Weights weights({.optimizer = LionSettings{}});
  weights.step(0);
  const auto before = weights.parameters;
  weights.gradients[17] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(weights.updater->step({0.1, 1.0})));
  EXPECT_EQ(before, weights.parameters);
}

TEST(Updater, ClipsByTheNormOfAllGradients) {
  Weights weights({.optimizer = SgdSettings{}});
  const auto before = weights.parameters;
  for (float& value : weights.gradients) value = 0.5F;
  const double norm = weights.updater->step({1.0, 2.0});
  EXPECT_NEAR(norm, 0.5 * std::sqrt(double{kElements}), 1e-6);
  double moved = 0;
  for (size_t i = 0; i < kElements; ++i) moved += std::pow(double{before[i]} - weights.parameters[i], 2);
  EXPECT_NEAR(std::sqrt(moved), 2.0, 1e-4);
  EXPECT_EQ(weights.gradients, std::vector<float>(kElements));
}

TEST(Updater, LoraPlusRaisesTheRateOfEveryB) {
  Weights plain({.optimizer = SgdSettings{}});
  Weights plus({.optimizer = SgdSettings{}, .loraplus_lr_ratio = 16});
  const auto before = plain.parameters;
  plain.step(1);
  plus.step(1);
  EXPECT_EQ(plain.parameters[4199], plus.parameters[4199]);
  EXPECT_NEAR(16 * (double{plain.parameters[4200]} - before[4200]), double{plus.parameters[4200]} - before[4200], 1e-6);
}

TEST(Updater, DecayCanBeSwitchedOffByName) {
  Weights all({.optimizer = AdamWSettings{.weight_decay = 0.5}});
  Weights some({.optimizer = AdamWSettings{.weight_decay = 0.5}, .no_decay = {"lora_B"}});
  Weights none({.optimizer = AdamWSettings{}});
  for (auto* weights : {&all, &some, &none}) weights->step(0);
  EXPECT_EQ(all.parameters[0], some.parameters[0]);
  EXPECT_NE(all.parameters[0], none.parameters[0]);
  EXPECT_EQ(none.parameters[4300], some.parameters[4300]);
  std::vector<float> memory(8);
  const auto wrong =
      Updater::create({.optimizer = AdamWSettings{}, .no_decay = {"lora_C"}},
                      {{.name = "q_proj.lora_B", .rows = 2, .columns = 4}}, memory, memory, run_tasks_here);
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message, HasSubstr("'lora_C' names no trained parameter"));
}

TEST(Updater, TheAverageIsTorchs) {
  Weights weights({.optimizer = SgdSettings{}, .ema_decay = 0.75});
  nlohmann::json seen;
  EXPECT_FALSE(weights.updater->show_average());
  for (uint64_t i = 0; i < 6; ++i) {
    weights.step(i);
    seen.push_back(std::vector<float>(weights.parameters.begin(), weights.parameters.begin() + 8));
    if (i % 2 == 0) weights.updater->show_average();  // looking on does not disturb
  }
  const std::string printed = run_python(R"(
import json, sys, torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
model = torch.nn.Linear(8, 1, bias=False)
average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75))
for values in json.loads(sys.argv[1]):
    with torch.no_grad(): model.weight.copy_(torch.tensor([values]))
    average.update_parameters(model)
print(json.dumps(average.module.weight[0].tolist()))
)",
                                         {seen.dump()});
  const auto expected = nlohmann::json::parse(printed, nullptr, false);
  ASSERT_TRUE(expected.is_array()) << printed;
  weights.updater->show_trained();
  const auto trained = weights.parameters;
  EXPECT_TRUE(weights.updater->show_average());
  EXPECT_FALSE(weights.updater->show_average());
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(weights.parameters[i], expected[i].get<float>(), 1e-7);
  EXPECT_TRUE(weights.updater->show_trained());
  EXPECT_EQ(weights.parameters, trained);
}

}  // namespace
}  // namespace graft::training
