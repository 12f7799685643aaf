#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/philox.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "training/optimizers/newton_schulz.h"
#include "training/optimizers/optimizer.h"

namespace graft::training {
namespace {

using Json = nlohmann::json;

// Three matrices with padding between them, one of them stored transposed, and a vector.
std::vector<ParameterBlock> blocks() {
  return {{.name = "q.lora_A", .offset = 0, .rows = 5, .columns = 24},
          {.name = "q.lora_B", .offset = 130, .rows = 5, .columns = 40, .transposed = true},
          {.name = "v.lora_A", .offset = 330, .rows = 9, .columns = 7},
          {.name = "v.magnitude", .offset = 400, .rows = 1, .columns = 33, .matrix = false}};
}
constexpr int64_t kElements = 440;

std::vector<float> draw(int64_t n, uint64_t stream, float scale) {
  PhiloxStream random(5, stream);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = (2 * random.next_float() - 1) * scale;
  return values;
}

std::vector<float> gradient(int64_t step, int64_t n = kElements) {
  return draw(n, 100 + static_cast<uint64_t>(step), step % 3 == 0 ? 0.01F : 1.0F);
}

// Tasks in an order of its own, on as many threads.
RunTasks scattered(int threads) {
  return [threads](int64_t count, const std::function<void(int64_t)>& task) {
    std::vector<std::thread> pool;
    for (int t = 0; t < threads; ++t) {
      pool.emplace_back([&, t] {
        for (int64_t i = count - 1 - t; i >= 0; i -= threads) task(i);
      });
    }
    for (std::thread& thread : pool) thread.join();
  };
}

std::vector<float> run(const OptimizerSettings& settings, const std::vector<ParameterBlock>& parts, int64_t elements,
                       int steps, const RunTasks& tasks = run_tasks_here) {
  const auto optimizer = make_optimizer(settings, parts, elements);
  std::vector<float> parameters = draw(elements, 1, 0.5F);
  for (int step = 0; step < steps; ++step) {
    const std::vector<float> g = gradient(step, elements);
    optimizer->step({parameters, g, 0.01 / (1 + step), 0.5}, tasks);
  }
  return parameters;
}

std::string torch_optimizer(const std::string& constructor) {
  return "optimizer = " + constructor + R"(
def take(rate):
    for group in optimizer.param_groups: group["lr"] = rate
    optimizer.step()
)";
}

std::string torch_muon(const std::string& arguments, bool in_float) {
  return std::string("torch.Tensor.bfloat16 = ") + (in_float ? "lambda self: self.clone()" : "bfloat16") + R"(
matrices = [p for p in params if p.ndim == 2]
vectors = torch.optim.AdamW([p for p in params if p.ndim == 1], weight_decay=0.2)
optimizer = torch.optim.Muon(matrices, weight_decay=0.2, )" +
         arguments + R"()
def take(rate):
    for one in (optimizer, vectors):
        for group in one.param_groups: group["lr"] = rate
        one.step()
)";
}

// Scripts that define take(rate), a step over `params`: tensors in the module's own orientation, whose .grad is set.
std::map<std::string, std::string> oracle_scripts() {
  const std::string adafactor = "Adafactor(params, lr=0.1, scale_parameter=False, relative_step=False, ";
  return {
      {"adamw", torch_optimizer("torch.optim.AdamW(params, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.1)")},
      {"sgd", torch_optimizer("torch.optim.SGD(params, lr=0.1, weight_decay=0.1)")},
      {"nesterov", torch_optimizer("torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)")},
      {"dampened", torch_optimizer("torch.optim.SGD(params, lr=0.1, momentum=0.8, dampening=0.3)")},
      {"adafactor", torch_optimizer(adafactor + "weight_decay=0.1)")},
      {"adafactor beta1", torch_optimizer(adafactor + "beta1=0.9, clip_threshold=0.5, decay_rate=-0.6)")},
      {"muon float", torch_muon("momentum=0.9", true)},
      {"muon bfloat16", torch_muon("momentum=0.9", false)},
      {"muon rms", torch_muon("momentum=0.9, nesterov=False, ns_steps=3, adjust_lr_fn='match_rms_adamw'", true)},
      {"lion", R"(
momenta = [torch.zeros_like(p) for p in params]
def take(rate):
    with torch.no_grad():
        for p, m in zip(params, momenta):
            mixed = 0.9 * m + np.float32(1 - 0.9) * p.grad
            p.mul_(1 - rate * 0.1).sub_(rate * torch.sign(mixed))
            m.mul_(0.95).add_(np.float32(1 - 0.95) * p.grad)
)"}};
}

constexpr int kOracleSteps = 15;

// Every script over the same blocks, parameters and gradients, in one process: importing torch takes seconds.
Json run_oracles() {
  Json job;
  job["scripts"] = oracle_scripts();
  job["parameters"] = draw(kElements, 1, 0.5F);
  for (int step = 0; step < kOracleSteps; ++step) job["gradients"].push_back(gradient(step));
  for (const ParameterBlock& block : blocks()) {
    job["blocks"].push_back({block.offset, block.rows, block.columns, block.matrix, block.transposed});
  }
  TestDirectory directory;
  std::ofstream(directory / "job.json") << job;
  const std::string printed = run_python(R"(
import json, sys
import numpy as np, torch
from transformers.optimization import Adafactor
bfloat16 = torch.Tensor.bfloat16
job = json.load(open(sys.argv[1]))
def view(values, block):
    offset, rows, columns, matrix, transposed = block
    part = values[offset:offset + rows * columns]
    if not matrix: return part.clone()
    part = part.reshape(rows, columns)
    return (part.T if transposed else part).contiguous().clone()
results = {}
for name, script in job["scripts"].items():
    flat = torch.tensor(job["parameters"])
    params = [torch.nn.Parameter(view(flat, block)) for block in job["blocks"]]
    scope = {"params": params, "torch": torch, "np": np, "Adafactor": Adafactor, "bfloat16": bfloat16}
    exec(script, scope)
    for step, gradients in enumerate(job["gradients"]):
        for param, block in zip(params, job["blocks"]): param.grad = view(torch.tensor(gradients), block) * 0.5
        scope["take"](0.01 / (1 + step))
    for param, (offset, rows, columns, matrix, transposed) in zip(params, job["blocks"]):
        data = param.detach()
        flat[offset:offset + rows * columns] = (data.T if transposed else data).reshape(-1)
    results[name] = flat.tolist()
print(json.dumps(results))
)",
                                         {(directory / "job.json").string()});
  Json results = Json::parse(printed, nullptr, false);
  EXPECT_TRUE(results.is_object()) << printed;
  return results;
}

double largest_difference(const std::vector<float>& x, const std::vector<float>& y) {
  EXPECT_EQ(x.size(), y.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) largest = std::max(largest, std::abs(double{x[i]} - y[i]));
  return largest;
}

class SlowOptimizerOracles : public testing::Test {
 protected:
  static void SetUpTestSuite() { results_ = run_oracles(); }
  static void expect_equal(const char* name, const OptimizerSettings& settings, double tolerance) {
    ASSERT_TRUE(results_.contains(name)) << name;
    const auto got = run(settings, blocks(), kElements, kOracleSteps);
    EXPECT_LT(largest_difference(got, results_[name].get<std::vector<float>>()), tolerance) << name;
  }
  inline static Json results_;
};

TEST_F(SlowOptimizerOracles, AdamWEqualsTorch) { expect_equal("adamw", AdamWSettings{0.8, 0.95, 1e-7, 0.1}, 1e-6); }

TEST_F(SlowOptimizerOracles, SgdEqualsTorch) {
  expect_equal("sgd", SgdSettings{.weight_decay = 0.1}, 1e-6);
  expect_equal("nesterov", SgdSettings{.momentum = 0.9, .nesterov = true, .weight_decay = 0.05}, 1e-6);
  expect_equal("dampened", SgdSettings{.momentum = 0.8, .dampening = 0.3}, 1e-6);
}

TEST_F(SlowOptimizerOracles, AdafactorEqualsTransformers) {
  expect_equal("adafactor", AdafactorSettings{.weight_decay = 0.1}, 2e-6);
  expect_equal("adafactor beta1", AdafactorSettings{.clip_threshold = 0.5, .decay_rate = -0.6, .beta1 = 0.9}, 2e-6);
}

// torch runs the iteration in bfloat16. Its own code in float32 is the oracle; as it is, it agrees roughly.
TEST_F(SlowOptimizerOracles, MuonEqualsTorch) {
  MuonSettings settings{.momentum = 0.9, .weight_decay = 0.2};
  expect_equal("muon float", settings, 1e-5);
  expect_equal("muon bfloat16", settings, 1e-3);
  settings.nesterov = false;
  settings.match_rms_adamw = true;
  settings.ns_steps = 3;
  expect_equal("muon rms", settings, 1e-5);
}

TEST_F(SlowOptimizerOracles, LionEqualsItsDefinition) { expect_equal("lion", LionSettings{0.9, 0.95, 0.1}, 1e-6); }

TEST(NewtonSchulz, WideAndTallMatricesBecomeNearlyOrthogonal) {
  for (const auto& [rows, columns] : {std::pair{6, 40}, {40, 6}, {7, 7}, {1, 9}}) {
    std::vector<float> x = draw(rows * columns, 3, 1.0F);
    orthogonalise(x, rows, columns, 5, 1e-7);
    double squares = 0;
    for (const float value : x) squares += double{value} * value;
    // The sum of the squared singular values, each between 0.6 and 1.3.
    EXPECT_GT(squares, 0.36 * std::min(rows, columns));
    EXPECT_LT(squares, 1.69 * std::min(rows, columns));
  }
  std::vector<float> zero(12);
  orthogonalise(zero, 3, 4, 5, 1e-7);
  EXPECT_EQ(zero, std::vector<float>(12));
}

const std::vector<OptimizerSettings> kAll = {AdamWSettings{}, AdamW8bitSettings{{}, 60},
                                             LionSettings{},  AdafactorSettings{.beta1 = 0.9},
                                             MuonSettings{},  SgdSettings{.momentum = 0.9, .nesterov = true}};

TEST(Optimizers, PaddingIsLeftAlone) {
  for (const auto& settings : kAll) {
    const auto before = draw(kElements, 1, 0.5F);
    const auto after = run(settings, blocks(), kElements, 3);
    for (const size_t i : {120U, 129U, 393U, 399U, 433U, 439U})
      EXPECT_EQ(before[i], after[i]) << optimizer_name(settings);
    EXPECT_NE(before[0], after[0]);
    EXPECT_NE(before[432], after[432]);
  }
}

TEST(Optimizers, ThreadsAndOrderDoNotChangeABit) {
  const std::vector<ParameterBlock> large = {{.name = "a", .rows = 300, .columns = 700},
                                             {.name = "b", .offset = 210000, .rows = 90, .columns = 1000}};
  for (const auto& settings : kAll) {
    if (std::holds_alternative<MuonSettings>(settings)) continue;  // too slow at this size; by whole blocks anyway
    const auto expected = run(settings, large, 300000, 2);
    EXPECT_EQ(run(settings, large, 300000, 2, scattered(3)), expected) << optimizer_name(settings);
  }
  EXPECT_EQ(run(MuonSettings{}, blocks(), kElements, 4, scattered(3)), run(MuonSettings{}, blocks(), kElements, 4));
  const auto g = draw(300000, 4, 1.0F);
  EXPECT_EQ(gradient_norm(g, scattered(4)), gradient_norm(g, run_tasks_here));
}

TEST(Optimizers, RateScaleAndDecayBelongToTheBlock) {
  for (const auto& settings : kAll) {
    auto parts = blocks();
    parts[1].learning_rate_scale = 16;
    const auto plain = run(settings, blocks(), kElements, 1);
    const auto scaled = run(settings, parts, kElements, 1);
    const auto before = draw(kElements, 1, 0.5F);
    EXPECT_EQ(plain[3], scaled[3]);
    EXPECT_NEAR(16 * (double{plain[140]} - before[140]), double{scaled[140]} - before[140], 1e-5)
        << optimizer_name(settings);
  }
  auto parts = blocks();
  parts[0].decays = false;
  const auto none = run(AdamWSettings{}, blocks(), kElements, 5);
  const auto some = run(AdamWSettings{.weight_decay = 0.5}, parts, kElements, 5);
  EXPECT_EQ(none[7], some[7]);
  EXPECT_NE(none[140], some[140]);
}

}  // namespace
}  // namespace graft::training
