#include "formats/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>

#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/model_layout.h"
#include "formats/model_spec_json.h"

namespace graft::formats {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json small_llama() {
  return json::parse(
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 100, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "hidden_act": "silu", "eos_token_id": 2, "bos_token_id": 1})");
}

std::string refusal(const json& config, const json& generation = json()) {
  const auto spec = spec_from_hf_config(config, generation);
  return spec.ok() ? "accepted" : spec.error().message;
}

TEST(HfConfig, EqualsTransformersUnderstandingOfTheSameFile) {
  TestDirectory dir;
  const std::string printed = run_python(R"(
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
config = LlamaConfig(vocab_size=100, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=50000.0, attention_bias=True,
    tie_word_embeddings=True, eos_token_id=[2, 7], bos_token_id=1, pad_token_id=3,
    rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32})
model = LlamaForCausalLM(config)
model.save_pretrained(sys.argv[1])
print(sum(p.numel() for p in model.parameters()))
for name, p in model.named_parameters(): print(name, *p.shape)
)",
                                         {dir.path()});
  const auto read = read_hf_config(dir.path());
  ASSERT_TRUE(read.ok()) << read.error().message << printed;
  const ModelSpec& spec = *read;
  EXPECT_EQ(spec.num_layers, 3);
  EXPECT_EQ(spec.num_kv_heads, 2);
  EXPECT_EQ(spec.head_dim, 16);
  EXPECT_EQ(spec.norm_eps, 1e-5);
  EXPECT_EQ(spec.rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(spec.rope.theta, 50000.0);
  EXPECT_EQ(spec.rope.factor, 8.0);
  EXPECT_EQ(spec.rope.original_max_position, 32);
  EXPECT_TRUE(spec.tie_word_embeddings);
  EXPECT_TRUE(spec.qkv_bias);
  EXPECT_TRUE(spec.output_bias);
  EXPECT_FALSE(spec.mlp_bias);
  EXPECT_THAT(spec.eos_token_ids, ElementsAre(2, 7));
  EXPECT_EQ(spec.bos_token_id, 1);
  EXPECT_EQ(spec.pad_token_id, 3);
  std::string expected = std::to_string(spec.parameter_count());
  std::vector<std::string> lines;
  for (const WeightShape& weight : weight_shapes(spec)) {
    std::string line = weight.name;
    for (const int64_t size : weight.shape) line += " " + std::to_string(size);
    lines.push_back(line);
  }
  std::vector<std::string> theirs;
  std::istringstream stream(printed);
  for (std::string line; std::getline(stream, line);) theirs.push_back(line);
  EXPECT_EQ(theirs.front(), expected);
  theirs.erase(theirs.begin());
  EXPECT_THAT(lines, testing::UnorderedElementsAreArray(theirs));
}

TEST(HfConfig, RopeScalingIsReadInEverySpelling) {
  json config = small_llama();
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.kind, RopeKind::kDefault);
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.theta, 10000.0);
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.kind, RopeKind::kLinear);
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.factor, 2.0);
  config["rope_scaling"] = {{"rope_type", "default"}};
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.kind, RopeKind::kDefault);
  config["rope_scaling"] = nullptr;
  config["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 500000.0},
                               {"factor", 32.0},          {"low_freq_factor", 1.0},
                               {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 8192}};
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.theta, 500000.0);
  config["rope_parameters"].erase("high_freq_factor");
  EXPECT_THAT(refusal(config), HasSubstr("'high_freq_factor' is missing"));
  config["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 2.0}};
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.kind, RopeKind::kYarn);
  EXPECT_EQ(spec_from_hf_config(config, {})->rope.original_max_position, 64);
  config["rope_parameters"] = {{"rope_type", "dynamic"}};
  EXPECT_THAT(refusal(config), HasSubstr("key 'rope_parameters': key 'factor' is missing"));
  config["rope_parameters"] = {{"rope_type", "spiral"}, {"factor", 2.0}};
  EXPECT_THAT(refusal(config),
              HasSubstr("'spiral' is not supported; supported: default, linear, dynamic, llama3, yarn, longrope"));
  config["rope_parameters"] = {{"type", "su"}, {"short_factor", {1, 1}}, {"long_factor", {1, 1, 1, 1}}};
  EXPECT_THAT(refusal(config), HasSubstr("2 factors; 4 pairs of a head turn"));
}

TEST(HfConfig, GenerationConfigsEndTokensComeFirst) {
  EXPECT_THAT(spec_from_hf_config(small_llama(), {})->eos_token_ids, ElementsAre(2));
  EXPECT_THAT(spec_from_hf_config(small_llama(), {{"eos_token_id", {5, 6, 5}}})->eos_token_ids, ElementsAre(5, 6));
  EXPECT_THAT(spec_from_hf_config(small_llama(), json::object())->eos_token_ids, ElementsAre(2));
  EXPECT_THAT(refusal(small_llama(), {{"eos_token_id", "x"}}), HasSubstr("generation_config.json"));
}

TEST(HfConfig, WhatCannotBeHonouredIsRefusedByName) {
  const auto with = [](const std::string& key, const json& value) {
    json config = small_llama();
    config[key] = value;
    return refusal(config);
  };
  EXPECT_THAT(with("hidden_act", "mish"), HasSubstr("hidden_act 'mish'"));
  EXPECT_THAT(with("quantization_config", {{"bits", 4}}), HasSubstr("quantization_config"));
  EXPECT_EQ(with("sliding_window", nullptr), "accepted");
  EXPECT_THAT(with("sliding_window", -1), HasSubstr("sliding_window"));
  EXPECT_THAT(with("layer_types", {"full_attention"}), HasSubstr("an entry per layer"));
  EXPECT_THAT(with("layer_types", {"chunked_attention", "full_attention"}), HasSubstr("chunked_attention"));
  EXPECT_THAT(with("is_encoder_decoder", true), HasSubstr("is_encoder_decoder true"));
  EXPECT_THAT(with("partial_rotary_factor", 0.5), HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(with("vocab_size", nullptr), HasSubstr("'vocab_size' is missing"));
  EXPECT_THAT(with("vocab_size", "many"), HasSubstr("'vocab_size' must be a whole number"));
  EXPECT_THAT(with("vocab_size", 2.5), HasSubstr("'vocab_size' must be a whole number"));
  EXPECT_THAT(with("hidden_size", -32), HasSubstr("hidden_size"));
  EXPECT_THAT(with("hidden_size", 9223372036854775807), HasSubstr("hidden_size"));
  EXPECT_THAT(with("hidden_size", 33), HasSubstr("head_dim"));
  EXPECT_THAT(with("num_attention_heads", 0), HasSubstr("num_attention_heads"));
  EXPECT_THAT(with("num_key_value_heads", 3), HasSubstr("evenly"));
  EXPECT_THAT(with("eos_token_id", 100), HasSubstr("outside the vocabulary"));
  EXPECT_THAT(with("rms_norm_eps", 0), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(refusal(json::array()), HasSubstr("object"));
}

TEST(HfConfig, AnUnknownArchitectureIsReadAsALlamaWhereItsKeysFit) {
  json config = small_llama();
  config["architectures"] = {"NovelForCausalLM"};
  const auto spec = spec_from_hf_config(config, {});
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  EXPECT_EQ(spec->architecture, "LlamaForCausalLM");
  config["ssm_state_size"] = 16;
  config.erase("rms_norm_eps");
  EXPECT_THAT(refusal(config),
              AllOf(HasSubstr("'NovelForCausalLM' is not supported; supported: Llama"),
                    HasSubstr("missing keys: rms_norm_eps"), HasSubstr("keys without a meaning here: ssm_state_size")));
  json nameless = small_llama();
  nameless.erase("architectures");
  EXPECT_EQ(refusal(nameless), "accepted") << "the model type says it";
  nameless.erase("model_type");
  EXPECT_EQ(refusal(nameless), "key 'architectures' is missing");
}

// Settings that change what a model computes, as each family has them.
TEST(HfConfig, FamiliesSayWhatIsTheirs) {
  TestDirectory dir;
  ASSERT_EQ(run_python("import runpy, sys\nsys.argv = ['x', 'all', sys.argv[1]]\nsys.path.insert(0, '" GRAFT_SOURCE_DIR
                       "')\nrunpy.run_module('tests.oracles.model_families', run_name='__main__')",
                       {dir.path()}),
            "");
  const auto read = [&](const std::string& path) { return parse_json(read_file(dir / path).value()).value(); };
  std::map<std::string, ModelSpec> specs;
  for (const json& entry : read("names.json")) {
    const auto name = entry.get<std::string>();
    SCOPED_TRACE(name);
    const auto spec = read_hf_config(dir / name);
    ASSERT_TRUE(spec.ok()) << spec.error().message;
    const json expected = read(name + "/weights.json");
    EXPECT_EQ(spec->parameter_count(), expected["parameters"].get<int64_t>());
    json tensors = json::object();
    for (const WeightShape& weight : weight_shapes(*spec)) tensors[weight.name] = weight.shape;
    EXPECT_EQ(json::diff(expected["tensors"], tensors), json::array());
    EXPECT_EQ(spec_to_json(spec_from_json(spec_to_json(*spec)).value()), spec_to_json(*spec));
    specs[name] = *spec;
  }
  using enum AttentionKind;
  EXPECT_THAT(specs["mistral"].attention, ElementsAre(kSliding, kSliding, kSliding));
  EXPECT_EQ(specs["mistral"].sliding_window, 16);
  EXPECT_TRUE(specs["mistral_full"].attention.empty());
  EXPECT_THAT(specs["qwen2_windows"].attention, ElementsAre(kFull, kSliding, kSliding));
  EXPECT_TRUE(specs["qwen2"].attention.empty());
  EXPECT_TRUE(specs["qwen2"].qkv_bias && !specs["qwen2"].output_bias);
  EXPECT_THAT(specs["gemma2"].attention, ElementsAre(kSliding, kFull, kSliding));
  EXPECT_EQ(specs["gemma2"].attention_scale, 0.25);
  EXPECT_EQ(specs["gemma2"].attention_soft_cap, 50);
  EXPECT_EQ(specs["gemma2"].norm, NormKind::kRmsPlusOne);
  EXPECT_EQ(specs["gemma3"].attention_of(5), kFull);
  EXPECT_EQ(specs["gemma3"].attention_of(6), kSliding);
  EXPECT_EQ(specs["gemma3"].rope.local_theta, 10000);
  EXPECT_EQ(specs["gemma3"].rope.kind, RopeKind::kLinear);
  EXPECT_EQ(specs["gemma"].embedding_multiplier, std::sqrt(32.0));
  EXPECT_EQ(specs["phi"].rope.rotary_dim, 4);
  EXPECT_EQ(specs["phi"].block, BlockKind::kParallel);
  EXPECT_EQ(specs["phi3_longrope"].rope.kind, RopeKind::kLongRope);
  EXPECT_EQ(specs["phi3_longrope"].rope.factor, 2);
  EXPECT_EQ(specs["gpt_neox_serial"].block, BlockKind::kPre);
  EXPECT_EQ(specs["gpt_neox_serial"].rope.theta, 5000);
  EXPECT_EQ(specs["falcon_1b"].positions, PositionKind::kAlibi);
  EXPECT_EQ(specs["falcon_7b"].num_kv_heads, 1);
  EXPECT_EQ(specs["olmo"].clip_qkv, 8);
  EXPECT_EQ(specs["granite"].logit_multiplier, 1 / 8.0);
  EXPECT_EQ(specs["granite"].attention_scale, 0.0078125);
  EXPECT_EQ(specs["smollm3"].attention_of(3), kNoPosition);
  EXPECT_THAT(specs["cohere2"].attention, ElementsAre(kSliding, kSliding, kSliding, kNoPosition, kSliding));
  EXPECT_TRUE(specs["cohere2"].rope.interleaved);
  EXPECT_THAT(specs["qwen2_moe"].moe.dense_layers, ElementsAre(0, 2));
  EXPECT_THAT(specs["qwen3_moe"].moe.dense_layers, ElementsAre(1));
  EXPECT_EQ(specs["mixtral"].moe.top_k, 3);
  EXPECT_EQ(specs["llama_yarn"].rope.attention_factor, 1.5);
  EXPECT_EQ(specs["llama_yarn"].rope.beta_fast, 16);
  EXPECT_EQ(specs["mpt"].intermediate_size, 128);
}

TEST(HfConfig, MistralMapsToTheSameDecoder) {
  json config = small_llama();
  config["architectures"] = {"MistralForCausalLM"};
  const auto spec = spec_from_hf_config(config, {});
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->architecture, "MistralForCausalLM");
}

TEST(ModelSpecJson, SurvivesTheRoundTrip) {
  json config = small_llama();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  const ModelSpec spec = spec_from_hf_config(config, {{"eos_token_id", {5, 6}}}).value();
  const auto text = spec_to_json(spec).dump();
  const auto again = spec_from_json(parse_json(text).value());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(spec_to_json(*again).dump(), text);
  EXPECT_EQ(again->rope.kind, RopeKind::kLinear);
  EXPECT_EQ(again->pad_token_id, std::nullopt);
}

TEST(ModelSpecJson, UnknownMissingAndWrongKeysAreErrors) {
  const json good = spec_to_json(spec_from_hf_config(small_llama(), {}).value());
  const auto refused = [&](const std::function<void(json&)>& change) {
    json value = good;
    change(value);
    const auto spec = spec_from_json(value);
    return spec.ok() ? "accepted" : spec.error().message;
  };
  EXPECT_EQ(refused([](json&) {}), "accepted");
  EXPECT_THAT(refused([](json& v) { v["vocab_siz"] = 1; }), HasSubstr("did you mean 'vocab_size'"));
  EXPECT_THAT(refused([](json& v) { v.erase("head_dim"); }), HasSubstr("'head_dim' is missing"));
  EXPECT_THAT(refused([](json& v) { v["rope"]["kind"] = "x"; }), HasSubstr("rope kind 'x'"));
  EXPECT_THAT(refused([](json& v) { v["rope"].erase("theta"); }), HasSubstr("'theta' is missing"));
  EXPECT_THAT(refused([](json& v) { v["norm"] = "batch"; }), HasSubstr("norm 'batch'"));
  EXPECT_THAT(refused([](json& v) { v["weights"] = "novel"; }), HasSubstr("weight names 'novel'"));
  EXPECT_THAT(refused([](json& v) { v["moe"]["experts"] = 4; }), HasSubstr("experts"));
  EXPECT_THAT(refused([](json& v) { v["gated_mlp"] = false; }), HasSubstr("plain MLPs have no place"));
  EXPECT_THAT(refused([](json& v) { v["eos_token_ids"] = {1, -1}; }), HasSubstr("token id"));
  EXPECT_THAT(refused([](json& v) { v["num_layers"] = 0; }), HasSubstr("layers"));
}

// Records of models that were imported before there were families.
TEST(ModelSpecJson, ReadsRecordsOfEarlierVersions) {
  const auto spec = spec_from_json(json::parse(R"({"architecture": "LlamaForCausalLM", "model_type": "llama",
      "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2,
      "head_dim": 8, "max_position": 64, "rms_norm_eps": 1e-6, "rope": {"kind": "linear", "theta": 500.0, "factor": 2.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position": 0}, "tie_word_embeddings": true,
      "attention_bias": true, "mlp_bias": false, "bos_token_id": 1, "pad_token_id": null, "eos_token_ids": [2]})"));
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  EXPECT_EQ(spec->norm_eps, 1e-6);
  EXPECT_TRUE(spec->qkv_bias && spec->output_bias && spec->tie_word_embeddings);
  EXPECT_EQ(spec->weights, "llama");
}

}  // namespace
}  // namespace graft::formats
