#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/philox.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "training/optimizers/dynamic_code.h"
#include "training/optimizers/optimizer.h"

namespace graft::training {
namespace {

using Json = nlohmann::json;

constexpr int64_t kElements = 700;  // two whole runs of 256 and one of 188

std::vector<float> draw(int64_t n, uint64_t stream, float scale) {
  PhiloxStream random(8, stream);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) {
    value = (2 * random.next_float() - 1) * scale;
    value *= value * value;  // over several powers of ten
  }
  return values;
}

TEST(DynamicCode, IsTheTreeOfThePaper) {
  const auto printed = run_python(R"(
import json
def tree(signed):
    values = [0.0, 1.0]
    for i in range(7):
        parts = 2 ** (i + 7 - 7) + 1 if signed else 2 ** (i + 7 - 7 + 1) + 1
        bounds = [0.1 + 0.9 * j / (parts - 1) for j in range(parts)]
        means = [(a + b) / 2 for a, b in zip(bounds, bounds[1:])]
        values += [10 ** (-6 + i) * m for m in means]
        if signed: values += [-(10 ** (-6 + i)) * m for m in means]
    return sorted(values)
print(json.dumps([tree(True), tree(False)]))
)");
  const Json trees = Json::parse(printed, nullptr, false);
  ASSERT_TRUE(trees.is_array()) << printed;
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_FLOAT_EQ(DynamicCode::of_signed().values()[i], trees[0][i].get<float>());
    EXPECT_FLOAT_EQ(DynamicCode::of_unsigned().values()[i], trees[1][i].get<float>());
  }
}

TEST(DynamicCode, CodesAreTheNearest) {
  for (const auto* code : {&DynamicCode::of_signed(), &DynamicCode::of_unsigned()}) {
    std::vector<float> values = draw(256, 2, 1.0F);
    if (code == &DynamicCode::of_unsigned()) {
      for (float& value : values) value = std::abs(value);
    }
    std::vector<uint8_t> codes(256);
    const float scale = code->encode(values, codes.data());
    std::vector<float> decoded(256);
    code->decode(codes, scale, decoded.data());
    for (size_t i = 0; i < 256; ++i) {
      double nearest = 1e9;
      for (const float one : code->values()) nearest = std::min(nearest, std::abs(double{one} * scale - values[i]));
      EXPECT_NEAR(std::abs(double{decoded[i]} - values[i]), nearest, 1e-6 * scale);
    }
  }
}

TEST(DynamicCode, ZerosAndTinyMomentsAreSafe) {
  const std::vector<float> zeros(256);
  std::vector<uint8_t> codes(256, 7);
  std::vector<float> decoded(256, 1.0F);
  EXPECT_EQ(DynamicCode::of_unsigned().encode(zeros, codes.data()), 0.0F);
  DynamicCode::of_unsigned().decode(codes, 0.0F, decoded.data());
  EXPECT_EQ(decoded, zeros);
  std::vector<float> tiny = {1.0F, 1e-20F, 0.0F};
  DynamicCode::of_unsigned().encode(tiny, codes.data());
  EXPECT_EQ(codes[0], 255);
  EXPECT_EQ(codes[1], 1);
  EXPECT_EQ(codes[2], 0);
}

// The algorithm, written once more with numpy: every float of every step must be the same.
TEST(AdamW8bit, EqualsANumpyModelBitForBit) {
  Json job;
  const std::vector<float> start = draw(kElements, 1, 1.0F);
  job["parameters"] = start;
  job["signed"] = DynamicCode::of_signed().values();
  job["unsigned"] = DynamicCode::of_unsigned().values();
  for (uint64_t step = 0; step < 25; ++step) job["gradients"].push_back(draw(kElements, 10 + step, 0.5F));
  TestDirectory directory;
  std::ofstream(directory / "job.json") << job;
  const auto printed = run_python(R"(
import json, sys
import numpy as np
f = np.float32
job = json.load(open(sys.argv[1]))
p = np.array(job["parameters"], f)
maps = [np.array(job[k], f) for k in ("signed", "unsigned")]
def encode(x, code, keep):
    scale = np.abs(x).max()
    middles = (code[:-1] + code[1:]) / f(2)
    codes = np.searchsorted(middles, x / (scale if scale > 0 else f(1)), side="left")
    if keep: codes = np.where(x > 0, np.maximum(codes, 1), codes)
    return codes, scale
runs = [slice(i, min(i + 256, len(p))) for i in range(0, len(p), 256)]
state = [[(None, f(0)), (None, f(0))] for _ in runs]
for t, g in enumerate(job["gradients"], 1):
    g = np.array(g, f) * f(0.5)
    rate = 0.01
    decay, size, root = f(1 - rate * 0.1), f(rate / (1 - 0.9 ** t)), f(np.sqrt(1 - 0.99 ** t))
    for run, moments in zip(runs, state):
        m, v = [np.zeros(run.stop - run.start, f) if codes is None else code[codes] * scale
                for (codes, scale), code in zip(moments, maps)]
        m = f(0.9) * m + f(1 - 0.9) * g[run]
        v = f(0.99) * v + f(1 - 0.99) * g[run] * g[run]
        p[run] = decay * p[run] - size * m / (np.sqrt(v) / root + f(1e-8))
        moments[0], moments[1] = encode(m, maps[0], False), encode(v, maps[1], True)
print(json.dumps([float(x) for x in p]))
)",
                                  {(directory / "job.json").string()});
  const Json expected = Json::parse(printed, nullptr, false);
  ASSERT_TRUE(expected.is_array()) << printed;

  const auto optimizer = make_optimizer(AdamW8bitSettings{{0.9, 0.99, 1e-8, 0.1}, 1},
                                        {{.name = "w", .rows = 7, .columns = 100}}, kElements);
  std::vector<float> parameters = start;
  for (uint64_t step = 0; step < 25; ++step) {
    const auto g = draw(kElements, 10 + step, 0.5F);
    optimizer->step({parameters, g, 0.01, 0.5}, run_tasks_here);
  }
  int same = 0;
  for (size_t i = 0; i < parameters.size(); ++i) same += parameters[i] == expected[i].get<float>() ? 1 : 0;
  EXPECT_EQ(same, kElements);
}

// A least-squares problem of 64 x 64 weights with noisy gradients: the loss after a whole run is that of float32, and
// the two runs differ less than two seeds do.
double final_loss(const OptimizerSettings& settings, uint64_t seed, std::vector<float>& weights) {
  constexpr size_t kSide = 64;
  const std::vector<float> target = draw(kSide * kSide, 77, 1.0F);
  weights.assign(kSide * kSide, 0.0F);
  const auto optimizer =
      make_optimizer(settings, {{.name = "w", .rows = kSide, .columns = kSide}}, static_cast<int64_t>(weights.size()));
  PhiloxStream random(seed, 5);
  constexpr int kSteps = 600;
  for (int step = 0; step < kSteps; ++step) {
    std::vector<float> g(weights.size());
    for (size_t i = 0; i < g.size(); ++i) {
      const float noise = 2 * random.next_float() - 1;
      g[i] = (weights[i] - target[i]) * static_cast<float>(1 + i % 7) + 0.3F * noise;
    }
    optimizer->step({weights, g, 0.02 * (1.0 - step / double{kSteps}), 1.0}, run_tasks_here);
  }
  double loss = 0;
  for (size_t i = 0; i < weights.size(); ++i) loss += std::pow(double{weights[i]} - target[i], 2);
  return loss / static_cast<double>(weights.size());
}

TEST(AdamW8bit, AWholeRunIsWithinTheNoiseOfFloat32) {
  std::vector<float> w32;
  std::vector<float> w8;
  std::vector<float> other;
  const double l32 = final_loss(AdamWSettings{}, 1, w32);
  const double l8 = final_loss(AdamW8bitSettings{{}, 1}, 1, w8);
  final_loss(AdamWSettings{}, 2, other);
  const double start = 1.0 / 7;  // what weights of zero cost
  EXPECT_LT(l32, 1e-3 * start);
  EXPECT_LT(l8, 1e-3 * start);
  double between = 0;
  double seeds = 0;
  for (size_t i = 0; i < w8.size(); ++i) {
    between += std::pow(double{w8[i]} - w32[i], 2);
    seeds += std::pow(double{other[i]} - w32[i], 2);
  }
  EXPECT_LT(between, seeds);
}

TEST(AdamW8bit, StateIsTwoBytesAnElement) {
  const auto optimizer =
      make_optimizer(AdamW8bitSettings{}, {{.name = "w", .rows = 64, .columns = 512}}, int64_t{64} * 512);
  EXPECT_EQ(state_bytes(*optimizer), 2 * 64 * 512 + 2 * 4 * 128);
  const auto small = make_optimizer(AdamW8bitSettings{}, {{.name = "w", .rows = 8, .columns = 511}}, 4096);
  EXPECT_EQ(state_bytes(*small), 8 * 8 * 511);
}

}  // namespace
}  // namespace graft::training
