// Merges against PEFT's add_weighted_adapter.
#include "formats/peft_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dequantise.h"
#include "formats/tiny_spec.h"

namespace graft::formats {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

ModelSpec tiny() { return tiny_spec(2); }

// a, b, c have one rank; c has fewer modules and another alpha, d another rank, e is an rsLoRA, f has patterns.
constexpr const char* kAdapters = R"py(
import sys, json, torch
from transformers import LlamaConfig, LlamaForCausalLM
from peft import LoraConfig, get_peft_model
torch.manual_seed(0)
settings = json.loads(sys.argv[2])
base = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32))
model = None
for name, setting in settings["adapters"].items():
    config = eval(f"LoraConfig(task_type='CAUSAL_LM', {setting})")
    if model is None: model = get_peft_model(base, config, adapter_name=name)
    else: model.add_adapter(name, config)
for name, p in model.named_parameters():
    if "lora_" in name: p.data = torch.randn_like(p)
model.save_pretrained(sys.argv[1], save_embedding_layers=False)
for i, merge in enumerate(settings["merges"]):
    options = {k: merge[k] for k in ("density", "majority_sign_method") if k in merge}
    model.add_weighted_adapter(merge["ids"], merge["weights"], f"merge{i}", combination_type=merge["type"], **options)
    model.save_pretrained(sys.argv[1], selected_adapters=[f"merge{i}"], save_embedding_layers=False)
)py";

const json kSettings = {{"a", "target_modules=['q_proj', 'v_proj'], r=4, lora_alpha=8"},
                        {"b", "target_modules=['q_proj', 'v_proj', 'up_proj'], r=4, lora_alpha=3"},
                        {"c", "target_modules=['q_proj'], r=4, lora_alpha=16"},
                        {"d", "target_modules=['q_proj', 'k_proj'], r=7, lora_alpha=7"},
                        {"e", "target_modules=['q_proj', 'v_proj'], r=4, lora_alpha=8, use_rslora=True"},
                        {"f",
                         "target_modules=['q_proj', 'v_proj'], r=4, rank_pattern={'layers.1.self_attn.v_proj': 2}, "
                         "alpha_pattern={'q_proj': 5}"}};

std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  EXPECT_TRUE(to_float32(view, values).ok());
  return values;
}

// The largest difference beside the largest magnitude.
double difference(const std::vector<float>& ours, const std::vector<float>& theirs) {
  if (ours.size() != theirs.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  double apart = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(theirs[i])));
    apart = std::max(apart, std::fabs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i])));
  }
  return largest == 0 ? apart : apart / largest;
}

// PEFT pads what `cat` leaves empty with zeros: rows of A and columns of B from r on.
std::vector<float> without_padding(const std::vector<float>& values, int64_t rows, int64_t columns, int64_t kept_rows,
                                   int64_t kept_columns) {
  std::vector<float> kept;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const float value = values[static_cast<size_t>(row * columns + column)];
      if (row < kept_rows && column < kept_columns) {
        kept.push_back(value);
      } else {
        EXPECT_EQ(value, 0);
      }
    }
  }
  return kept;
}

TensorMerge merge_of(const json& merge) {
  TensorMerge out;
  for (const MergeMethod method : {MergeMethod::kLinear, MergeMethod::kCat, MergeMethod::kTies,
                                   MergeMethod::kDareLinear, MergeMethod::kDareTies}) {
    if (merge_method_name(method) == merge["type"]) out.method = method;
  }
  out.density = merge.value("density", 1.0);
  if (merge.value("majority_sign_method", "total") == "frequency") out.majority_sign = MajoritySign::kFrequency;
  return out;
}

class PeftMerge : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TestDirectory();
    const json merges = json::parse(R"([
      {"type": "linear", "ids": ["a", "b"], "weights": [0.5, 2]},
      {"type": "linear", "ids": ["a", "b", "c"], "weights": [1, -0.7, 0.3]},
      {"type": "linear", "ids": ["b", "e"], "weights": [0.25, 1.5]},
      {"type": "linear", "ids": ["a", "a"], "weights": [1, 1]},
      {"type": "linear", "ids": ["d"], "weights": [-2]},
      {"type": "cat", "ids": ["a", "b"], "weights": [0.5, 2]},
      {"type": "cat", "ids": ["a", "d", "c", "f"], "weights": [1, -0.7, 0.3, 2]},
      {"type": "ties", "ids": ["a", "b"], "weights": [1, 1], "density": 0.5},
      {"type": "ties", "ids": ["a", "b", "c"], "weights": [0.7, -1.2, 0.3], "density": 0.33},
      {"type": "ties", "ids": ["a", "b", "e"], "weights": [1, 2, 3], "density": 0.8, "majority_sign_method": "frequency"},
      {"type": "ties", "ids": ["b", "a"], "weights": [1, 0], "density": 1.0, "majority_sign_method": "frequency"},
      {"type": "ties", "ids": ["d"], "weights": [0.5], "density": 0.1},
      {"type": "dare_linear", "ids": ["a", "b"], "weights": [0.5, 2], "density": 1.0},
      {"type": "dare_ties", "ids": ["a", "b", "c"], "weights": [0.5, 2, -1], "density": 1.0},
      {"type": "dare_ties", "ids": ["c"], "weights": [0.5], "density": 0.2}
    ])");
    merges_ = new json(merges);
    const json argument = {{"adapters", kSettings}, {"merges", merges}};
    run_python(kAdapters, {directory_->path(), argument.dump()});
  }
  static void TearDownTestSuite() {
    delete directory_;
    delete merges_;
  }

  static PeftAdapter open(const std::string& name) {
    auto adapter = PeftAdapter::open(*directory_ / name, tiny());
    EXPECT_TRUE(adapter.ok()) << adapter.error().message;
    return std::move(adapter).value();
  }

  static Result<MergedAdapter> merge(const std::vector<std::string>& ids, const std::vector<double>& weights,
                                     const TensorMerge& how) {
    std::vector<PeftAdapter> adapters;
    for (const std::string& id : ids) adapters.push_back(open(id));
    std::vector<MergePart> parts;
    for (size_t i = 0; i < ids.size(); ++i) parts.push_back({&adapters[i], weights[i], ids[i]});
    return merge_adapters(parts, how);
  }
  static std::string refusal(const std::vector<std::string>& ids, const std::vector<double>& weights,
                             const TensorMerge& how) {
    const auto merged = merge(ids, weights, how);
    return merged.ok() ? "accepted" : merged.error().message;
  }

  static TestDirectory* directory_;
  static json* merges_;
};
TestDirectory* PeftMerge::directory_ = nullptr;
json* PeftMerge::merges_ = nullptr;

TEST_F(PeftMerge, LinearCatAndTiesAreWhatPeftComputes) {
  for (size_t i = 0; i < merges_->size(); ++i) {
    const json& asked = (*merges_)[i];
    const auto merged = merge(asked["ids"], asked["weights"], merge_of(asked));
    ASSERT_TRUE(merged.ok()) << asked << merged.error().message;
    const PeftAdapter theirs = open("merge" + std::to_string(i));
    ASSERT_EQ(merged->modules.size(), theirs.modules().size()) << asked;
    for (const AdapterModule& module : theirs.modules()) {
      const auto ours = std::find_if(merged->modules.begin(), merged->modules.end(),
                                     [&](const MergedModule& m) { return m.path == module.slot.path; });
      ASSERT_NE(ours, merged->modules.end()) << module.slot.path;
      const AdapterSlot& slot = module.slot;
      EXPECT_EQ(slot.scale, 1) << asked;
      EXPECT_LT(difference(ours->a, without_padding(values_of(module.a), slot.r, slot.in, ours->r, slot.in)), 3e-7)
          << asked << slot.path;
      EXPECT_LT(difference(ours->b, without_padding(values_of(module.b), slot.out, slot.r, slot.out, ours->r)), 3e-7)
          << asked << slot.path;
    }
  }
}

// B A of a module, in double.
std::vector<double> update_of(const std::vector<float>& a, const std::vector<float>& b, int64_t r, int64_t in,
                              int64_t out, double factor) {
  std::vector<double> update(static_cast<size_t>(in * out));
  for (int64_t row = 0; row < out; ++row) {
    for (int64_t k = 0; k < r; ++k) {
      for (int64_t column = 0; column < in; ++column) {
        update[static_cast<size_t>(row * in + column)] += factor *
                                                          static_cast<double>(b[static_cast<size_t>(row * r + k)]) *
                                                          static_cast<double>(a[static_cast<size_t>(k * in + column)]);
      }
    }
  }
  return update;
}

TEST_F(PeftMerge, CatIsTheExactSumForAnyScaleAndRank) {
  const std::vector<std::string> ids = {"e", "d", "f"};
  const std::vector<double> weights = {0.5, -2, 1.25};
  const auto merged = merge(ids, weights, {.method = MergeMethod::kCat});
  ASSERT_TRUE(merged.ok()) << merged.error().message;
  for (const MergedModule& module : merged->modules) {
    std::vector<double> sum(static_cast<size_t>(module.in * module.out));
    for (size_t i = 0; i < ids.size(); ++i) {
      const PeftAdapter adapter = open(ids[i]);
      for (const AdapterModule& part : adapter.modules()) {
        if (part.slot.path != module.path) continue;
        const auto update = update_of(values_of(part.a), values_of(part.b), part.slot.r, part.slot.in, part.slot.out,
                                      weights[i] * part.slot.scale);
        for (size_t k = 0; k < sum.size(); ++k) sum[k] += update[k];
      }
    }
    const auto ours = update_of(module.a, module.b, module.r, module.in, module.out, 1);
    for (size_t k = 0; k < sum.size(); ++k) EXPECT_NEAR(ours[k], sum[k], 1e-5) << module.path;
  }
}

TEST_F(PeftMerge, WhatIsWrittenIsAnAdapterForUsAndForPeft) {
  const auto merged = merge({"a", "d", "f"}, {1, 0.5, -1}, {.method = MergeMethod::kCat});
  ASSERT_TRUE(merged.ok());
  TestDirectory dir;
  ASSERT_TRUE(write_merged_adapter(dir / "merged", *merged).ok());
  const auto again = PeftAdapter::open(dir / "merged", tiny());
  ASSERT_TRUE(again.ok()) << again.error().message;
  ASSERT_EQ(again->modules().size(), merged->modules.size());
  for (const AdapterModule& module : again->modules()) EXPECT_EQ(module.slot.scale, 1);
  EXPECT_EQ(run_python(R"(
import sys
from transformers import LlamaConfig, LlamaForCausalLM
from peft import PeftModel
base = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32))
model = PeftModel.from_pretrained(base, sys.argv[1])
for name, module in model.named_modules():
    if hasattr(module, "lora_A"): print(".".join(name.split(".")[-3:]), module.r["default"], module.scaling["default"])
)",
                       {dir / "merged"}),
            "0.self_attn.q_proj 15 1.0\n0.self_attn.k_proj 7 1.0\n0.self_attn.v_proj 8 1.0\n"
            "1.self_attn.q_proj 15 1.0\n1.self_attn.k_proj 7 1.0\n1.self_attn.v_proj 6 1.0");
}

TEST_F(PeftMerge, DareKeepsTheDensityAndTheExpectation) {
  std::vector<float> ones(200'000, 1.0F);
  drop_at_random(ones, 0.3, 1, 2);
  const auto kept = static_cast<double>(std::count_if(ones.begin(), ones.end(), [](float v) { return v != 0; }));
  EXPECT_NEAR(kept / 200'000, 0.3, 0.005);  // five standard deviations
  for (const float value : ones) EXPECT_TRUE(value == 0 || value == 1 / 0.3F);

  // The mean over many seeds is what PEFT computes without dropping anything.
  const PeftAdapter linear = open("merge0");
  const AdapterModule& module = linear.modules().front();
  std::vector<double> mean(values_of(module.a).size());
  constexpr int kSeeds = 400;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto merged = merge({"a", "b"}, {0.5, 2}, {.method = MergeMethod::kDareLinear, .density = 0.5, .seed = seed});
    ASSERT_TRUE(merged.ok());
    ASSERT_EQ(merged->modules.front().path, module.slot.path);
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += static_cast<double>(merged->modules.front().a[i]) / kSeeds;
  }
  const auto expected = values_of(module.a);
  for (size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(mean[i], static_cast<double>(expected[i]), 0.6);
}

TEST_F(PeftMerge, DareIsAFunctionOfItsSeed) {
  for (const MergeMethod method : {MergeMethod::kDareLinear, MergeMethod::kDareTies}) {
    const auto with_seed = [&](uint64_t seed) {
      return merge({"a", "b"}, {1, 1}, {.method = method, .density = 0.5, .seed = seed}).value().modules;
    };
    const auto first = with_seed(7);
    EXPECT_EQ(first.front().a, with_seed(7).front().a);
    EXPECT_EQ(first.back().b, with_seed(7).back().b);
    EXPECT_NE(first.front().a, with_seed(8).front().a);
  }
  // The same adapter twice is dropped from twice, each time elsewhere.
  const auto twice = merge({"a", "a"}, {1, 1}, {.method = MergeMethod::kDareLinear, .density = 0.5, .seed = 1});
  const auto values = values_of(open("a").modules().front().a);
  int once = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double ratio = static_cast<double>(twice->modules.front().a[i]) / static_cast<double>(values[i]);
    if (std::fabs(ratio - 2 * std::sqrt(2.0)) < 1e-3) ++once;  // 1 / density, and sqrt(weight * scale)
  }
  EXPECT_GT(once, 10);
}

TEST_F(PeftMerge, WhatCannotBeMergedIsRefusedWithAReason) {
  EXPECT_EQ(merge_adapters({}, {}).error().message, "a merge needs at least one adapter");
  EXPECT_THAT(refusal({"a", "d"}, {1, 1}, {.method = MergeMethod::kTies, .density = 0.5}),
              AllOf(HasSubstr("ties merges adapters of the same rank only"), HasSubstr("'a' has rank 4"),
                    HasSubstr("'d' has rank 7"), HasSubstr("cat merges any ranks")));
  EXPECT_THAT(refusal({"a", "b"}, {1, std::numeric_limits<double>::infinity()}, {}), HasSubstr("'b' is not finite"));
  EXPECT_THAT(refusal({"a", "b"}, {1, std::nan("")}, {}), HasSubstr("'b' is not finite"));
  EXPECT_THAT(refusal({"a", "b"}, {1, 1e300}, {.method = MergeMethod::kCat}), HasSubstr("the merge overflows"));
  for (const double density : {0.0, -0.5, 1.5, std::nan("")}) {
    for (const auto method : {MergeMethod::kTies, MergeMethod::kDareLinear, MergeMethod::kDareTies}) {
      EXPECT_THAT(refusal({"a", "b"}, {1, 1}, {.method = method, .density = density}),
                  HasSubstr("must be above 0 and at most 1"));
    }
  }
  EXPECT_EQ(refusal({"a", "b"}, {1, 1}, {.method = MergeMethod::kLinear, .density = 0}), "accepted");
}

TEST(TensorMerge, KeepsTheLargestAndOfEqualOnesTheFirst) {
  std::vector<float> values = {1, -3, 2, -2, 2, 0};
  keep_largest(values, 0.5);
  EXPECT_EQ(values, (std::vector<float>{0, -3, 2, -2, 0, 0}));
  keep_largest(values, 0);
  EXPECT_EQ(values, std::vector<float>(6));
}

}  // namespace
}  // namespace graft::formats
