#include "recipe/training_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/philox.h"
#include "recipe/adapter_settings.h"
#include "recipe/config_schema.h"
#include "recipe/config_text.h"

namespace graft::recipe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kMinimal = "model_type: llm\nbase_model: smol\nadapter: {type: lora}\n";

constexpr std::string_view kTypical = R"(model_type: llm
base_model: smol
input_features:
  - name: text
    type: text
output_features:
  - name: label
    type: text
prompt:
  template: |
    Classify: {text}
    Label:
adapter:
  type: lora
  r: 16
  target_modules: [q_proj, k_proj, v_proj, o_proj]
  rank_pattern: {layers.0.self_attn.q_proj: 32}
trainer:
  type: finetune
  learning_rate: 5e-4
  epochs: 3
  batch_size: 4
  gradient_accumulation_steps: 8
  learning_rate_scheduler:
    decay: cosine
    warmup_fraction: 0.1
backend: local
)";

Result<TrainingConfig> read(std::string_view yaml, const std::vector<std::string>& overrides = {}) {
  auto tree = ConfigTree::parse_yaml(yaml, "c.yaml");
  EXPECT_TRUE(tree.ok()) << tree.error().message;
  for (const auto& assignment : overrides) EXPECT_TRUE(tree->set(assignment).ok()) << assignment;
  return read_training_config(*tree);
}

std::string error_of(std::string_view yaml, const std::vector<std::string>& overrides = {}) {
  const auto config = read(yaml, overrides);
  return config.ok() ? "no error" : config.error().message;
}

TEST(TrainingConfig, MinimalFileGetsLudwigsDefaults) {
  const auto config = read(kMinimal);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->trainer.epochs, 100);
  EXPECT_EQ(config->trainer.learning_rate, 1e-3);
  EXPECT_EQ(config->trainer.early_stop, 5);
  EXPECT_EQ(config->trainer.clipglobalnorm, 0.5);
  EXPECT_EQ(config->adapter.r, 8);
  EXPECT_EQ(config->adapter.alpha, 16.0);
  EXPECT_EQ(config->adapter.dropout, 0.05);
  EXPECT_THAT(config->adapter.target_modules, ElementsAre("q_proj", "v_proj"));
  EXPECT_THAT(config->preprocessing.split.probabilities, ElementsAre(0.7, 0.1, 0.2));
  EXPECT_EQ(config->generation.max_new_tokens, 32);
  EXPECT_EQ(config->generation.temperature, 0.1);
  EXPECT_EQ(config->random_seed, 42);
  EXPECT_EQ(config->trainer.max_batch_tokens, 2048);
  EXPECT_FALSE(config->trainer.effective_batch_size.has_value());
}

TEST(TrainingConfig, ReadsATypicalFile) {
  const auto config = read(kTypical);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->prompt.template_text, "Classify: {text}\nLabel:\n");
  EXPECT_EQ(config->output_features[0].name, "label");
  EXPECT_EQ(config->adapter.alpha, 32.0);
  EXPECT_THAT(config->adapter.rank_pattern, ElementsAre(testing::Pair("layers.0.self_attn.q_proj", 32.0)));
  EXPECT_EQ(config->trainer.effective_batch_size, 32);
  EXPECT_FALSE(config->trainer.max_batch_tokens.has_value());
  EXPECT_FALSE(config->trainer.batch_size.has_value());
  EXPECT_EQ(config->trainer.learning_rate_scheduler.decay, "cosine");
}

TEST(TrainingConfig, OverridesWin) {
  const auto config = read(kTypical, {"trainer.epochs=1", "adapter.target_modules=all-linear", "adapter.alpha=8",
                                      "trainer.gradient_clipping=null", "generation.top_k=null"});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->trainer.epochs, 1);
  EXPECT_THAT(config->adapter.target_modules, ElementsAre("all-linear"));
  EXPECT_EQ(config->adapter.alpha, 8.0);
  EXPECT_FALSE(config->trainer.clipglobalnorm.has_value());
  EXPECT_FALSE(config->generation.top_k.has_value());
}

TEST(TrainingConfig, AutoIsLudwigsWordForUnset) {
  const auto config = read(kMinimal, {"trainer.effective_batch_size=auto", "trainer.batch_size=2",
                                      "trainer.gradient_accumulation_steps=auto"});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->trainer.effective_batch_size, 2);
}

TEST(TrainingConfig, AStratifiedSplitIsByTheOutputFeatureUnlessAColumnIsNamed) {
  const auto config = read(kTypical, {"preprocessing.split.type=stratify"});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->preprocessing.split.column, "label");
  EXPECT_EQ(read(kTypical, {"preprocessing.split={type: stratify, column: kind}"})->preprocessing.split.column, "kind");
}

TEST(TrainingConfig, UnknownKeysAreErrorsWithLineAndSuggestion) {
  EXPECT_EQ(error_of(std::string(kMinimal) + "trainer:\n  learning_rat: 1\n"),
            "c.yaml:5: trainer.learning_rat: unknown key; did you mean learning_rate?");
  EXPECT_EQ(error_of(std::string(kMinimal) + "learning_rate: 1\n"),
            "c.yaml:4: learning_rate: unknown key; did you mean trainer.learning_rate?");
  EXPECT_EQ(error_of(std::string(kMinimal), {"trainer.epoch=3"}),
            "--set trainer.epoch=3: trainer.epoch: unknown key; did you mean epochs?");
}

TEST(TrainingConfig, EveryProblemIsReported) {
  const std::string message = error_of("model_type: ecd\nadapter: {r: 0}\ntrainer: {epochs: 1.5}\n");
  EXPECT_THAT(message, HasSubstr("c.yaml:1: model_type: 'ecd' is not one of llm"));
  EXPECT_THAT(message, HasSubstr("c.yaml:2: adapter.r: must be at least 1, is 0"));
  EXPECT_THAT(message, HasSubstr("c.yaml:3: trainer.epochs: expected an integer, found 1.5"));
  EXPECT_THAT(message, HasSubstr("base_model: is required"));
  EXPECT_THAT(message, HasSubstr("adapter: is required"));
}

TEST(TrainingConfig, ContradictionsAreErrors) {
  const std::string minimal(kMinimal);
  const auto refused = [&](std::vector<std::string> overrides, const char* part) {
    EXPECT_THAT(error_of(minimal, overrides), HasSubstr(part));
  };
  refused({"trainer.batch_size=4", "trainer.max_batch_tokens=100"}, "in tokens or in rows");
  refused({"trainer.batch_size=4", "trainer.gradient_accumulation_steps=2", "trainer.effective_batch_size=9"},
          "is 9, but batch_size x gradient_accumulation_steps is 8");
  refused({"trainer.batch_size=4", "trainer.effective_batch_size=9"}, "multiple of 4");
  refused({"trainer.steps_per_checkpoint=4", "trainer.checkpoints_per_epoch=2"}, "not both");
  refused(
      {"trainer.learning_rate_scheduler.warmup_fraction=0.1", "trainer.learning_rate_scheduler.warmup_evaluations=2"},
      "not both");
  refused({"trainer.optimizer.type=adam", "trainer.optimizer.weight_decay=0.1"}, "use adamw");
  refused({"trainer.early_stop=0"}, "at least 1, or -1");
  refused({"preprocessing.split.probabilities=[0.9, 0.2, 0]"}, "add up to 1");
  refused({"preprocessing.split.probabilities=[0.5, 0.5]"}, "expected three shares");
  refused({"adapter.target_modules=[q_proj, all-linear]"}, "all-linear stands alone");
  refused({"adapter.target_modules=q_proj"}, "expected a list of module names, all-linear or a regular expression");
  refused({"adapter.rank_pattern={q_proj: 1.5}"}, "must be an integer");
  refused({"adapter=null"}, "adapter: is required");
  refused({"prompt.template=x"}, "output_features: exactly one is needed");
  refused({"input_features=[{name: a}, {name: b}]", "output_features=[{name: c}]"}, "prompt.template: is required");
  refused({"input_features=[{name: a, type: category}]", "output_features=[{name: c}]"}, "only text features");
  refused({"input_features=[{name: a}]", "output_features=[{name: c, type: number}]"}, "only text and category");
  refused({"preprocessing.split.type=stratify"}, "is required with type: stratify");
  refused({"input_features=[{type: text}]", "output_features=[{name: c}]"}, "the column's name");
  refused({"prompt.template=x", "preprocessing.row_format=messages"}, "not used with");
  refused({"trainer.epochs=null"}, "must not be null");
}

TEST(TrainingConfig, OptimizersHaveKeysAndDefaultsOfTheirOwn) {
  const auto of = [](const std::string& type, std::vector<std::string> more = {}) {
    more.push_back("trainer.optimizer.type=" + type);
    auto config = read(kMinimal, more);
    EXPECT_TRUE(config.ok()) << config.error().message;
    return config.ok() ? config->trainer.optimizer : OptimizerConfig{};
  };
  EXPECT_EQ(read(kMinimal)->trainer.optimizer, of("adamw"));
  EXPECT_EQ(of("adamw_8bit").eps, 1e-8);
  EXPECT_THAT(*of("lion").betas, ElementsAre(0.9, 0.99));
  EXPECT_FALSE(of("lion").eps.has_value());
  EXPECT_EQ(of("muon").weight_decay, 0.1);
  EXPECT_EQ(of("muon", {"trainer.optimizer.adjust_lr_fn=match_rms_adamw"}).adjust_lr_fn, "match_rms_adamw");
  EXPECT_FALSE(of("adafactor").beta1.has_value());
  EXPECT_EQ(of("adafactor", {"trainer.optimizer.beta1=0.9"}).beta1, 0.9);
  EXPECT_EQ(of("sgd", {"trainer.optimizer.momentum=0.9", "trainer.optimizer.nesterov=true"}).momentum, 0.9);
  const auto sgd = read(kMinimal, {"trainer.optimizer.type=sgd"});
  EXPECT_THAT(to_yaml(*sgd), Not(HasSubstr("betas")));
}

TEST(TrainingConfig, WhatAnOptimizerCannotHaveIsRefusedWithTheRemedy) {
  const auto refused = [](std::vector<std::string> overrides, const char* part) {
    EXPECT_THAT(error_of(kMinimal, overrides), HasSubstr(part));
  };
  refused(
      {"trainer.optimizer.type=sgd", "trainer.optimizer.betas=[0.9, 0.99]"},
      "trainer.optimizer.betas: sgd has no such key; its keys are momentum, dampening, nesterov, weight_decay (betas "
      "belongs to adamw, adam, adamw_8bit, lion)");
  refused({"trainer.optimizer.momentum=0.9"}, "adamw has no such key");
  refused({"trainer.optimizer.type=lion", "trainer.optimizer.eps=1e-6"}, "lion has no such key");
  refused({"trainer.optimizer.type=muom"}, "did you mean muon?");
  refused({"trainer.optimizer.weight_deca=1"}, "did you mean weight_decay?");
  refused({"trainer.optimizer.betas=[0.9]"}, "expected two numbers");
  refused({"trainer.optimizer.betas=[0.9, 1.0]"}, "must be below 1");
  refused({"trainer.optimizer.betas=[-0.1, 0.9]"}, "must be at least 0");
  refused({"trainer.optimizer.eps=0"}, "must be above 0");
  refused({"trainer.optimizer.eps=.nan"}, "expected a number");
  refused({"trainer.optimizer.type=sgd", "trainer.optimizer.nesterov=true"}, "needs a momentum above 0");
  refused({"trainer.optimizer.type=adafactor", "trainer.optimizer.decay_rate=0.5"}, "trainer.optimizer.decay_rate");
  refused({"trainer.optimizer.type=adamw_8bit", "trainer.optimizer.percentile_clipping=5"}, "gradient_clipping");
  refused({"trainer.learning_rate=-1e-3"}, "trainer.learning_rate: must be above 0");
  refused({"trainer.ema_decay=1"}, "trainer.ema_decay: must be below 1");
  refused({"adapter.loraplus_lr_ratio=0"}, "adapter.loraplus_lr_ratio: must be above 0");
  refused({"trainer.learning_rate_scheduler.warmup_fraction=1.5"}, "must be at most 1");
}

TEST(TrainingConfig, MetricsAreNamesOrPythonFiles) {
  const auto config =
      read(kMinimal, {"trainer.validation_metric=rouge_l", "trainer.evaluation_metrics=[token_f1, dir/score.py]",
                      "trainer.evaluation_rows=5"});
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->trainer.validation_metric, "rouge_l");
  EXPECT_EQ(read(kMinimal)->trainer.validation_metric, "loss");
  EXPECT_THAT(
      error_of(kMinimal, {"trainer.validation_metric=rougel"}),
      HasSubstr("trainer.validation_metric: 'rougel' is no metric, and no Python file (.py); did you mean 'rouge_l'?"));
  EXPECT_THAT(error_of(kMinimal, {"trainer.evaluation_metrics=[loss]"}), HasSubstr("'loss' is no metric"));
  EXPECT_THAT(error_of(kMinimal, {"trainer.evaluation_rows=0"}), HasSubstr("must be at least 1"));
}

TEST(TrainingConfig, SchedulesHaveKeysOfTheirOwn) {
  const auto error = [](std::vector<std::string> keys) {
    for (std::string& key : keys) key = "trainer.learning_rate_scheduler." + key;
    return error_of(kMinimal, keys);
  };
  for (const auto& good : std::vector<std::vector<std::string>>{
           {"decay=cosine", "t_0=100", "t_mult=2", "eta_min=1e-5"},
           {"decay=wsd", "decay_fraction=0.2", "decay_shape=1-sqrt", "warmup_fraction=0.1"},
           {"decay=polynomial", "power=2", "eta_min=1e-7"},
           {"decay=exponential", "decay_rate=0.9", "decay_steps=100", "staircase=true"},
           {"decay=linear", "t_mult=1", "eta_min=0", "decay_rate=0.96", "decay_steps=10000", "staircase=false"}}) {
    EXPECT_EQ(error(good), "no error") << good[0];
  }
  EXPECT_THAT(error({"decay=linear", "t_0=5"}),
              HasSubstr("trainer.learning_rate_scheduler.t_0: belongs to decay: cosine; this run's decay is linear"));
  EXPECT_THAT(error({"eta_min=1e-5"}), HasSubstr("belongs to decay: cosine, linear, polynomial, wsd"));
  EXPECT_THAT(error({"decay=wsd", "power=2"}), HasSubstr("belongs to decay: polynomial"));
  EXPECT_THAT(error({"decay=cosine", "t_mult=2"}), HasSubstr("needs t_0"));
  EXPECT_THAT(error({"decay=cosine", "t_0=0"}), HasSubstr("must be at least 1"));
  EXPECT_THAT(error({"decay=linear", "eta_min=0.5"}), HasSubstr("must be at most trainer.learning_rate, 0.001"));
  EXPECT_THAT(error({"decay=wsd", "warmup_fraction=0.5", "decay_fraction=0.6"}), HasSubstr("not be more than 1"));
  EXPECT_THAT(error({"decay=wsd", "decay_shape=cubic"}), HasSubstr("'cubic' is not one of linear, 1-sqrt, cosine"));
  EXPECT_THAT(error({"decay=wds"}), HasSubstr("did you mean wsd?"));
}

TEST(TrainingConfig, WhatCannotBeHonouredIsRefusedNotIgnored) {
  const std::string minimal(kMinimal);
  for (const char* wrong : {"quantization={bits: 3}", "trainer.type=none", "backend=ray", "trainer.eval_batch_size=2",
                            "adapter.type=ia3", "trainer.learning_rate_scheduler.reduce_on_plateau=2",
                            "adapter.postprocessor.merge_adapter_into_base_model=true", "generation.num_beams=4",
                            "preprocessing.split.type=datetime", "adapter.bias_type=all", "backend.type=ray"}) {
    const std::string message = error_of(minimal, {wrong});
    EXPECT_THAT(message, HasSubstr(std::string("--set ") + wrong)) << wrong;
    EXPECT_THAT(message, Not(HasSubstr("unknown key"))) << wrong;
  }
  for (const char* harmless : {"quantization=null", "adapter.use_dora=false", "ludwig_version=0.10.0", "backend=local",
                               "adapter.postprocessor.merge_adapter_into_base_model=false", "generation.num_beams=1"}) {
    EXPECT_EQ(error_of(minimal, {harmless}), "no error") << harmless;
  }
}

constexpr std::string_view kFull = "model_type: llm\nbase_model: smol\nadapter: {type: full}\n";

TEST(TrainingConfig, TrainingAllWeightsHasDefaultsOfItsOwn) {
  const auto config = read(kFull);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_TRUE(trains_all_weights(config->adapter));
  EXPECT_EQ(config->trainer.learning_rate, 2e-5);
  EXPECT_EQ(config->trainer.optimizer.type, "adamw_8bit");
  EXPECT_EQ(config->trainer.clipglobalnorm, std::nullopt);
  EXPECT_EQ(config->trainer.max_micro_batch_tokens, 2048);
  EXPECT_EQ(config->trainer.enable_gradient_checkpointing, std::nullopt);
  const auto again = read(to_yaml(*config));
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(*again == *config);
  EXPECT_THAT(to_yaml(*config), Not(HasSubstr("target_modules")));

  const auto chosen = read(kFull, {"trainer.learning_rate=1e-4", "trainer.optimizer.type=adamw", "trainer.batch_size=4",
                                   "trainer.gradient_clipping.clipnorm=1", "trainer.dtype=float32",
                                   "trainer.enable_gradient_checkpointing=true"});
  ASSERT_TRUE(chosen.ok()) << chosen.error().message;
  EXPECT_EQ(chosen->trainer.learning_rate, 1e-4);
  EXPECT_EQ(chosen->trainer.clipnorm, 1.0);
  EXPECT_EQ(chosen->trainer.enable_gradient_checkpointing, true);
  EXPECT_EQ(chosen->trainer.max_micro_batch_tokens, 1 << 24);  // a step of rows is one pass, however long they are
}

TEST(TrainingConfig, WhatTrainingAllWeightsCannotHaveIsRefusedWithAlternatives) {
  const std::string full(kFull);
  EXPECT_THAT(error_of(full, {"trainer.gradient_clipping.clipglobalnorm=1"}),
              HasSubstr("use clipnorm, which clips each parameter's, or null"));
  EXPECT_EQ(error_of(full, {"trainer.gradient_clipping.clipglobalnorm=null"}), "no error");
  EXPECT_THAT(error_of(full, {"trainer.batch_size=2", "trainer.gradient_accumulation_steps=4"}),
              HasSubstr("a step is one pass over max_batch_tokens or batch_size"));
  EXPECT_THAT(error_of(full, {"trainer.max_micro_batch_tokens=512"}), HasSubstr("as large as max_batch_tokens"));
  EXPECT_THAT(error_of(full, {"trainer.dtype=int8"}), HasSubstr("quantised weights cannot be trained"));
  EXPECT_THAT(error_of(full, {"quantization.bits=4"}), HasSubstr("quantised weights cannot be trained"));
  EXPECT_THAT(error_of(full, {"trainer.optimizer.type=muon"}), HasSubstr("adamw_8bit and adamw"));
  EXPECT_THAT(error_of(full, {"trainer.ema_decay=0.9"}), HasSubstr("another copy of all weights"));
  EXPECT_THAT(error_of(full, {"adapter.r=8"}), HasSubstr("adapter.r: belongs to type: lora"));
  EXPECT_THAT(error_of(std::string(kMinimal), {"trainer.gradient_clipping.clipnorm=1"}),
              HasSubstr("use clipglobalnorm"));
  EXPECT_EQ(error_of(std::string(kMinimal), {"trainer.enable_gradient_checkpointing=auto"}), "no error");
}

// A random value that the option accepts, in the shape that a config file has it.
ConfigNode random_value(const Option& option, PhiloxStream& random) {
  if (option.nullable && random.below(4) == 0) return {};
  const NumberBounds bounds = option.bounds.value_or(NumberBounds{.min = 0, .max = 1000});
  const double low = std::max(bounds.min, -1000.0);
  const double high = std::min(bounds.max, low + 1000.0);
  const double number = low + (high - low) * (0.001 + 0.998 * random.next_double());
  if (option.type == "integer") return ConfigNode::integer(static_cast<int64_t>(std::ceil(number)));
  if (option.type == "number") return ConfigNode::number(number);
  if (option.type == "boolean") return ConfigNode::boolean(random.below(2) == 0);
  if (option.type == "section of numbers") {
    ConfigNode node = ConfigNode::map();
    for (uint64_t i = random.below(3); i > 0; --i) {
      node.put("layers." + std::to_string(i) + ".q_proj", ConfigNode::number(std::ceil(number)));
    }
    return node;
  }
  if (option.path == "trainer.evaluation_metrics") return ConfigNode::list({ConfigNode::string("token_f1")});
  if (option.type.starts_with("list of strings")) return ConfigNode::list({ConfigNode::string("k_proj")});
  if (option.path == "trainer.validation_metric") return ConfigNode::string("score.py");
  if (option.path == "trainer.optimizer.betas") {
    return ConfigNode::list({ConfigNode::number(number), ConfigNode::number(number)});
  }
  if (option.path == "preprocessing.split.probabilities") {
    return ConfigNode::list({ConfigNode::number(0.5), ConfigNode::number(0.25), ConfigNode::number(0.25)});
  }
  if (!option.choices.empty()) return ConfigNode::string(option.choices[random.below(option.choices.size())]);
  static const std::vector<std::string> kTexts = {
      "plain", "two words\n  and {more}\n", "true", "8", " \t\"#: ", "\xC3\xA9"};
  return ConfigNode::string(kTexts[random.below(kTexts.size())]);
}

TEST(TrainingConfig, PrintedConfigReadsBackToTheSameStruct) {
  PhiloxStream random(17, 0);
  int accepted = 0;
  for (int round = 0; round < 400; ++round) {
    auto tree = ConfigTree::parse_yaml(kTypical, "c.yaml");
    ASSERT_TRUE(tree.ok());
    ConfigNode root = tree->root();
    for (const Option& option : options()) {
      // Many contradict the optimizer's type: seldom.
      const bool seldom = option.applies && random.below(6) != 0;
      if (random.below(6) != 0 || seldom || option.path == "preprocessing.row_format") continue;
      ConfigNode* section = &root;
      size_t begin = 0;
      for (size_t dot = option.path.find('.'); dot != std::string::npos; dot = option.path.find('.', begin)) {
        const std::string name = option.path.substr(begin, dot - begin);
        if (section->find(name) == nullptr || section->find(name)->kind != ConfigNode::Kind::kMap) {
          section->put(name, ConfigNode::map());
        }
        section = section->find(name);
        begin = dot + 1;
      }
      section->put(option.path.substr(begin), random_value(option, random));
    }
    const auto config = read_training_config(tree->with_root(root));
    if (!config.ok()) continue;  // a contradiction, such as a step size in tokens and in rows
    ++accepted;
    const std::string yaml = to_yaml(*config);
    const auto again = read(yaml);
    ASSERT_TRUE(again.ok()) << again.error().message << "\n" << yaml;
    ASSERT_TRUE(*config == *again) << yaml;
    ASSERT_EQ(yaml, to_yaml(*again));
  }
  EXPECT_GT(accepted, 50);
}

TEST(TrainingConfig, TheExamplesAreValid) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GRAFT_SOURCE_DIR "/examples")) {
    if (entry.path().extension() != ".yaml") continue;
    const auto config = load_training_config(entry.path().string());
    EXPECT_TRUE(config.ok()) << config.error().message;
    ++count;
  }
  EXPECT_GT(count, 0);
}

TEST(TrainingConfig, InitialWeightsAreNamedAsInPeft) {
  EXPECT_EQ(read(kMinimal, {"adapter.init_lora_weights=true"})->adapter.init_lora_weights, "true");
  EXPECT_EQ(read(kMinimal, {"adapter.init_lora_weights=pissa_niter_16"})->adapter.init_lora_weights, "pissa_niter_16");
  for (const char* wrong :
       {"false", "gaussian", "pissa_niter_", "pissa_niter_0", "pissa_niter_4x", "pissa_niter_100"}) {
    EXPECT_THAT(error_of(kMinimal, {std::string("adapter.init_lora_weights=") + wrong}),
                HasSubstr("expected true, pissa or pissa_niter_N"))
        << wrong;
  }
  EXPECT_THAT(error_of(kMinimal, {"adapter.init_lora_weights=pissa", "adapter.use_dora=true"}),
              HasSubstr("exclude each other"));
  EXPECT_THAT(error_of(kMinimal, {"adapter.init_lora_weights=pissa", "adapter.pretrained_adapter_weights=x"}),
              HasSubstr("a beginning of its own"));
  EXPECT_THAT(to_yaml(*read(kMinimal)), HasSubstr("  init_lora_weights: true\n"));
  EXPECT_THAT(error_of(kMinimal, {"trainer.neftune_noise_alpha=-1"}), HasSubstr("neftune_noise_alpha"));
}

TEST(TrainingConfig, PissaIsSavedAsTwiceTheRankOfTheSameScale) {
  for (const bool rslora : {false, true}) {
    AdapterConfig adapter;
    adapter.r = 6;
    adapter.alpha = 9;
    adapter.use_rslora = rslora;
    adapter.rank_pattern = {{"q_proj", 3}};
    adapter.alpha_pattern = {{"v_proj", 5}};
    const auto plain = peft_config(adapter, "m");
    adapter.init_lora_weights = "pissa";
    const auto doubled = peft_config(adapter, "m");
    const auto scale = [&](double alpha, int64_t r) {
      return rslora ? alpha / std::sqrt(static_cast<double>(r)) : alpha / static_cast<double>(r);
    };
    EXPECT_EQ(doubled.r, 12);
    EXPECT_EQ(doubled.rank_pattern[0].second, 6);
    EXPECT_NEAR(scale(doubled.lora_alpha, 12), scale(plain.lora_alpha, 6), 1e-12);
    EXPECT_NEAR(scale(doubled.alpha_pattern[0].second, 12), scale(5, 6), 1e-12);
  }
}

TEST(TrainingConfig, AClassifierIsJudgedByItsClasses) {
  std::string yaml(kTypical);
  const std::string text = "  - name: label\n    type: text";
  yaml.replace(yaml.find(text), text.size(), "  - name: label\n    type: category");
  EXPECT_EQ(read(yaml, {"trainer.validation_metric=macro_f1"})->trainer.validation_metric, "macro_f1");
  EXPECT_THAT(error_of(yaml, {"trainer.validation_metric=rouge_l"}), HasSubstr("loss, accuracy or macro_f1"));
  EXPECT_THAT(error_of(yaml, {"trainer.evaluation_metrics=[exact_match]"}), HasSubstr("are of written answers"));
  EXPECT_THAT(error_of(kTypical, {"trainer.validation_metric=accuracy"}), HasSubstr("is no metric"));
}

TEST(ConfigText, ShowPrintsTheResolvedFile) {
  const std::string path = testing::TempDir() + "config_text_test.yaml";
  std::ofstream(path) << kTypical;
  const auto shown = config_show(path, {"trainer.epochs=7"});
  ASSERT_TRUE(shown.ok()) << shown.error().message;
  EXPECT_THAT(*shown, HasSubstr("  epochs: 7\n"));
  EXPECT_THAT(*shown, HasSubstr("  template: |\n    Classify: {text}\n    Label:\n"));
  EXPECT_THAT(*shown, HasSubstr("  alpha: 32\n"));
  EXPECT_FALSE(config_show(path, {"trainer.epochs=x"}).ok());
  std::remove(path.c_str());
}

TEST(ConfigText, SchemaDescribesEveryKey) {
  const auto schema = nlohmann::json::parse(config_schema_json());
  for (const Option& option : options()) {
    const nlohmann::json* node = &schema;
    std::istringstream parts(option.path);
    for (std::string part; std::getline(parts, part, '.');) {
      if (part == "type" && option.path == "backend.type") node = &node->at("anyOf").at(0);
      if (option.path == "backend.type" && part == "type") {
        node = &node->at("properties").at(part);
        continue;
      }
      node = &node->at("properties").at(part);
    }
    EXPECT_EQ(node->at("description"), option.help);
  }
}

TEST(ConfigText, TheReferenceInDocsIsUpToDate) {
  std::ifstream file(GRAFT_SOURCE_DIR "/docs/config-reference.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), config_schema_markdown()) << "run: graft config schema --markdown > docs/config-reference.md";
}

}  // namespace
}  // namespace graft::recipe
