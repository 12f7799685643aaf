#include "formats/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

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
  EXPECT_EQ(spec.rms_norm_eps, 1e-5);
  EXPECT_EQ(spec.rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(spec.rope.theta, 50000.0);
  EXPECT_EQ(spec.rope.factor, 8.0);
  EXPECT_EQ(spec.rope.original_max_position, 32);
  EXPECT_TRUE(spec.tie_word_embeddings);
  EXPECT_TRUE(spec.attention_bias);
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
  EXPECT_THAT(refusal(config), HasSubstr("'yarn' is not supported; supported: default, linear, llama3"));
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
  EXPECT_THAT(with("architectures", {"MambaForCausalLM"}),
              HasSubstr("'MambaForCausalLM' is not supported; supported: Llama"));
  EXPECT_THAT(with("hidden_act", "gelu"), HasSubstr("hidden_act 'gelu'"));
  EXPECT_THAT(with("quantization_config", {{"bits", 4}}), HasSubstr("quantization_config"));
  EXPECT_THAT(with("sliding_window", 16), HasSubstr("sliding_window 16"));
  EXPECT_EQ(with("sliding_window", nullptr), "accepted");
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
  EXPECT_THAT(refused([](json& v) { v["eos_token_ids"] = {1, -1}; }), HasSubstr("token id"));
  EXPECT_THAT(refused([](json& v) { v["num_layers"] = 0; }), HasSubstr("layers"));
}

}  // namespace
}  // namespace graft::formats
