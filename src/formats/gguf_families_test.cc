// The metadata of a GGUF file, written as llama.cpp's converter does, and the config.json of the same model give the
// same ModelSpec. The sizes are those of published models; vocabularies are short.

#include "formats/gguf_families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/test_directory.h"
#include "formats/gguf_model.h"
#include "formats/gguf_writer.h"
#include "formats/hf_config.h"
#include "formats/model_source.h"
#include "formats/model_spec_json.h"

namespace graft::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using testing::HasSubstr;

struct Case {
  std::string name;
  std::string architecture;               // of the GGUF file
  ordered_json metadata;                  // behind "ARCHITECTURE."
  json config;                            // of Hugging Face
  std::vector<std::string> tensors = {};  // beside the embedding
};

constexpr int64_t kVocabulary = 8;

Status write(const fs::path& path, const Case& model) {
  GgufFields fields;
  fields.add_text("general.architecture", model.architecture);
  for (const auto& [key, value] : model.metadata.items()) {
    const std::string name = model.architecture + "." + key;
    if (value.is_boolean()) fields.add_bool(name, value);
    if (value.is_string()) fields.add_text(name, value.get<std::string>());
    if (value.is_number_integer()) fields.add_u32(name, value);
    if (value.is_number_float()) fields.add_f32(name, value);
    if (value.is_array()) fields.add_i32s(name, value.get<std::vector<int32_t>>());
  }
  fields.add_u32("tokenizer.ggml.bos_token_id", 1);
  fields.add_u32("tokenizer.ggml.eos_token_id", 2);
  std::vector<TensorDeclaration> tensors = {{"token_embd.weight", DType::kF32, {kVocabulary, 2}}};
  for (const std::string& name : model.tensors) tensors.push_back({name, DType::kF32, {4}});
  GRAFT_TRY(GgufWriter writer, GgufWriter::create(path, fields, tensors));
  const std::vector<float> values(16, 1.5F);
  for (const TensorDeclaration& tensor : tensors) {
    const size_t count = tensor.name == "token_embd.weight" ? 16 : 4;
    GRAFT_CHECK_OK(writer.write(tensor.name, std::as_bytes(std::span(values).first(count))));
  }
  return writer.commit();
}

ordered_json with(ordered_json base, const ordered_json& more) {
  base.update(more);
  return base;
}

ordered_json sizes(int layers, int hidden, int width, int context, int heads, int kv_heads) {
  return {{"block_count", layers},     {"embedding_length", hidden},    {"feed_forward_length", width},
          {"context_length", context}, {"attention.head_count", heads}, {"attention.head_count_kv", kv_heads}};
}

json config(const char* architecture, int layers, int hidden, int width, int context, int heads, int kv_heads,
            const json& more) {
  json made = {{"architectures", {architecture}},
               {"num_hidden_layers", layers},
               {"hidden_size", hidden},
               {"intermediate_size", width},
               {"max_position_embeddings", context},
               {"num_attention_heads", heads},
               {"num_key_value_heads", kv_heads},
               {"vocab_size", kVocabulary},
               {"bos_token_id", 1},
               {"eos_token_id", 2}};
  made.update(more);
  return made;
}

const ordered_json kEps6 = {{"attention.layer_norm_rms_epsilon", 1e-6}};
const ordered_json kEps5 = {{"attention.layer_norm_rms_epsilon", 1e-5}};

std::vector<Case> cases() {
  return {
      {"qwen2", "qwen2", with(with(sizes(24, 896, 4864, 32768, 14, 2), kEps6), {{"rope.freq_base", 1e6}}),
       config("Qwen2ForCausalLM", 24, 896, 4864, 32768, 14, 2,
              {{"rms_norm_eps", 1e-6},
               {"rope_theta", 1e6},
               {"tie_word_embeddings", true},
               {"sliding_window", 32768},
               {"use_sliding_window", false},
               {"max_window_layers", 21}})},
      {"qwen2_yarn",
       "qwen2",
       with(with(sizes(28, 3584, 18944, 131072, 28, 4), kEps6), {{"rope.freq_base", 1e6},
                                                                 {"rope.scaling.type", "yarn"},
                                                                 {"rope.scaling.factor", 4.0},
                                                                 {"rope.scaling.original_context_length", 32768}}),
       config("Qwen2ForCausalLM", 28, 3584, 18944, 131072, 28, 4,
              {{"rms_norm_eps", 1e-6},
               {"rope_theta", 1e6},
               {"tie_word_embeddings", false},
               {"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}}}}),
       {"output.weight"}},
      {"qwen3", "qwen3",
       with(with(sizes(28, 1024, 3072, 40960, 16, 8), kEps6),
            {{"rope.freq_base", 1e6}, {"attention.key_length", 128}, {"attention.value_length", 128}}),
       config("Qwen3ForCausalLM", 28, 1024, 3072, 40960, 16, 8,
              {{"rms_norm_eps", 1e-6},
               {"rope_theta", 1e6},
               {"tie_word_embeddings", true},
               {"head_dim", 128},
               {"attention_bias", false},
               {"sliding_window", nullptr},
               {"use_sliding_window", false}})},
      {"qwen2moe",
       "qwen2moe",
       with(with(sizes(24, 2048, 5632, 8192, 16, 16), kEps6), {{"rope.freq_base", 1e6},
                                                               {"expert_count", 60},
                                                               {"expert_used_count", 4},
                                                               {"expert_feed_forward_length", 1408},
                                                               {"expert_shared_feed_forward_length", 5632}}),
       config("Qwen2MoeForCausalLM", 24, 2048, 5632, 8192, 16, 16,
              {{"rms_norm_eps", 1e-6},
               {"rope_theta", 1e6},
               {"num_experts", 60},
               {"num_experts_per_tok", 4},
               {"moe_intermediate_size", 1408},
               {"shared_expert_intermediate_size", 5632},
               {"norm_topk_prob", false},
               {"decoder_sparse_step", 1},
               {"use_sliding_window", false}}),
       {"output.weight"}},
      {"qwen3moe",
       "qwen3moe",
       with(with(sizes(48, 2048, 6144, 40960, 32, 4), kEps6), {{"rope.freq_base", 1e6},
                                                               {"attention.key_length", 128},
                                                               {"attention.value_length", 128},
                                                               {"expert_count", 128},
                                                               {"expert_used_count", 8},
                                                               {"expert_feed_forward_length", 768}}),
       config("Qwen3MoeForCausalLM", 48, 2048, 6144, 40960, 32, 4,
              {{"rms_norm_eps", 1e-6},
               {"rope_theta", 1e6},
               {"head_dim", 128},
               {"num_experts", 128},
               {"num_experts_per_tok", 8},
               {"moe_intermediate_size", 768},
               {"norm_topk_prob", true},
               {"mlp_only_layers", json::array()},
               {"decoder_sparse_step", 1}}),
       {"output.weight"}},
      {"mixtral",
       "llama",
       with(with(sizes(32, 4096, 14336, 32768, 32, 8), kEps5),
            {{"rope.freq_base", 1e6}, {"rope.dimension_count", 128}, {"expert_count", 8}, {"expert_used_count", 2}}),
       config("MixtralForCausalLM", 32, 4096, 14336, 32768, 32, 8,
              {{"rms_norm_eps", 1e-5},
               {"rope_theta", 1e6},
               {"num_local_experts", 8},
               {"num_experts_per_tok", 2},
               {"sliding_window", nullptr}}),
       {"output.weight"}},
      {"gemma", "gemma",
       with(with(sizes(18, 2048, 16384, 8192, 8, 1), kEps6),
            {{"attention.key_length", 256}, {"attention.value_length", 256}}),
       config("GemmaForCausalLM", 18, 2048, 16384, 8192, 8, 1,
              {{"rms_norm_eps", 1e-6}, {"head_dim", 256}, {"hidden_activation", "gelu_pytorch_tanh"}})},
      {"gemma2", "gemma2",
       with(with(sizes(26, 2304, 9216, 8192, 8, 4), kEps6), {{"attention.key_length", 256},
                                                             {"attention.value_length", 256},
                                                             {"attn_logit_softcapping", 50.0},
                                                             {"final_logit_softcapping", 30.0},
                                                             {"attention.sliding_window", 4096}}),
       config("Gemma2ForCausalLM", 26, 2304, 9216, 8192, 8, 4,
              {{"rms_norm_eps", 1e-6},
               {"head_dim", 256},
               {"query_pre_attn_scalar", 256},
               {"sliding_window", 4096},
               {"attn_logit_softcapping", 50.0},
               {"final_logit_softcapping", 30.0}})},
      {"gemma2_27b", "gemma2",
       with(with(sizes(46, 4608, 36864, 8192, 32, 16), kEps6), {{"attention.key_length", 128},
                                                                {"attention.value_length", 128},
                                                                {"attn_logit_softcapping", 50.0},
                                                                {"final_logit_softcapping", 30.0},
                                                                {"attention.sliding_window", 4096}}),
       config("Gemma2ForCausalLM", 46, 4608, 36864, 8192, 32, 16,
              {{"rms_norm_eps", 1e-6},
               {"head_dim", 128},
               {"query_pre_attn_scalar", 144},
               {"sliding_window", 4096},
               {"attn_logit_softcapping", 50.0},
               {"final_logit_softcapping", 30.0}})},
      {"gemma3_1b", "gemma3",
       with(with(sizes(26, 1152, 6912, 32768, 4, 1), kEps6), {{"rope.freq_base", 1e6},
                                                              {"attention.key_length", 256},
                                                              {"attention.value_length", 256},
                                                              {"attention.sliding_window", 512}}),
       config("Gemma3ForCausalLM", 26, 1152, 6912, 32768, 4, 1,
              {{"rms_norm_eps", 1e-6},
               {"head_dim", 256},
               {"query_pre_attn_scalar", 256},
               {"sliding_window", 512},
               {"rope_theta", 1e6},
               {"rope_local_base_freq", 10000},
               {"sliding_window_pattern", 6},
               {"attn_logit_softcapping", nullptr},
               {"final_logit_softcapping", nullptr}})},
      {"gemma3_27b", "gemma3",
       with(with(sizes(62, 5376, 21504, 131072, 32, 16), kEps6), {{"rope.freq_base", 1e6},
                                                                  {"attention.key_length", 128},
                                                                  {"attention.value_length", 128},
                                                                  {"attention.sliding_window", 1024},
                                                                  {"rope.scaling.type", "linear"},
                                                                  {"rope.scaling.factor", 8.0}}),
       config("Gemma3ForCausalLM", 62, 5376, 21504, 131072, 32, 16,
              {{"rms_norm_eps", 1e-6},
               {"head_dim", 128},
               {"query_pre_attn_scalar", 168},
               {"sliding_window", 1024},
               {"rope_theta", 1e6},
               {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}}})},
      {"phi2",
       "phi2",
       with(sizes(32, 2560, 10240, 2048, 32, 32),
            {{"attention.layer_norm_epsilon", 1e-5}, {"rope.dimension_count", 32}}),
       config("PhiForCausalLM", 32, 2560, 10240, 2048, 32, 32,
              {{"layer_norm_eps", 1e-5}, {"partial_rotary_factor", 0.4}, {"hidden_act", "gelu_new"}}),
       {"output.weight"}},
      {"phi3",
       "phi3",
       with(with(sizes(32, 3072, 8192, 4096, 32, 32), kEps5), {{"rope.freq_base", 1e4},
                                                               {"rope.dimension_count", 96},
                                                               {"attention.sliding_window", 2047},
                                                               {"rope.scaling.original_context_length", 4096}}),
       config("Phi3ForCausalLM", 32, 3072, 8192, 4096, 32, 32,
              {{"rms_norm_eps", 1e-5},
               {"sliding_window", 2047},
               {"original_max_position_embeddings", 4096},
               {"rope_scaling", nullptr}}),
       {"output.weight"}},
      {"phi3_longrope",
       "phi3",
       with(with(sizes(4, 64, 128, 131072, 4, 2), kEps5),
            {{"rope.dimension_count", 8},
             {"rope.scaling.original_context_length", 4096},
             {"rope.scaling.attn_factor", std::sqrt(1 + std::log(32.0) / std::log(4096.0))}}),
       config(
           "Phi3ForCausalLM", 4, 64, 128, 131072, 4, 2,
           {{"rms_norm_eps", 1e-5},
            {"sliding_window", nullptr},
            {"original_max_position_embeddings", 4096},
            {"partial_rotary_factor", 0.5},
            {"rope_scaling",
             {{"type", "longrope"}, {"short_factor", {1.5, 1.5, 1.5, 1.5}}, {"long_factor", {1.5, 1.5, 1.5, 1.5}}}}}),
       {"output.weight", "rope_factors_short.weight", "rope_factors_long.weight"}},
      {"granite", "granite",
       with(with(sizes(40, 2048, 8192, 4096, 32, 8), kEps5),
            {{"embedding_scale", 12.0}, {"residual_scale", 0.22}, {"attention.scale", 0.015625}, {"logit_scale", 8.0}}),
       config("GraniteForCausalLM", 40, 2048, 8192, 4096, 32, 8,
              {{"rms_norm_eps", 1e-5},
               {"embedding_multiplier", 12.0},
               {"residual_multiplier", 0.22},
               {"attention_multiplier", 0.015625},
               {"logits_scaling", 8.0},
               {"tie_word_embeddings", true}})},
      {"smollm3", "smollm3", with(with(sizes(36, 2048, 11008, 65536, 16, 4), kEps6), {{"rope.freq_base", 5e6}}),
       config("SmolLM3ForCausalLM", 36, 2048, 11008, 65536, 16, 4,
              {{"rms_norm_eps", 1e-6},
               {"rope_theta", 5e6},
               {"use_sliding_window", false},
               {"no_rope_layer_interval", 4}})},
      {"olmo2",
       "olmo2",
       with(with(sizes(16, 2048, 8192, 4096, 16, 16), kEps6), {{"rope.freq_base", 5e5}}),
       config("Olmo2ForCausalLM", 16, 2048, 8192, 4096, 16, 16, {{"rms_norm_eps", 1e-6}, {"rope_theta", 5e5}}),
       {"output.weight"}},
      {"starcoder2", "starcoder2",
       with(sizes(30, 3072, 12288, 16384, 24, 2),
            {{"attention.layer_norm_epsilon", 1e-5}, {"rope.freq_base", 999999.5}}),
       config("Starcoder2ForCausalLM", 30, 3072, 12288, 16384, 24, 2,
              {{"norm_epsilon", 1e-5}, {"rope_theta", 999999.5}, {"use_bias", true}, {"sliding_window", nullptr}})},
      {"stablelm",
       "stablelm",
       with(sizes(24, 2048, 5632, 4096, 32, 32),
            {{"attention.layer_norm_epsilon", 1e-5}, {"rope.dimension_count", 16}, {"use_parallel_residual", false}}),
       config("StableLmForCausalLM", 24, 2048, 5632, 4096, 32, 32,
              {{"layer_norm_eps", 1e-5}, {"partial_rotary_factor", 0.25}, {"use_qkv_bias", true}}),
       {"output.weight", "blk.0.attn_q.bias"}},
      {"heads_by_layer", "qwen2",
       with(with(sizes(2, 64, 128, 256, 4, 2), kEps6),
            {{"attention.head_count_kv", {2, 2}}, {"feed_forward_length", {128, 128}}}),
       config("Qwen2ForCausalLM", 2, 64, 128, 256, 4, 2, {{"rms_norm_eps", 1e-6}, {"tie_word_embeddings", true}})},
  };
}

TEST(GgufFamilies, GiveTheModelSpecOfTheConfigOfTheSameModel) {
  TestDirectory dir;
  for (const Case& model : cases()) {
    SCOPED_TRACE(model.name);
    const fs::path path = dir / (model.name + ".gguf");
    ASSERT_TRUE(write(path, model).ok());
    const auto file = GgufFile::open(path);
    ASSERT_TRUE(file.ok()) << file.error().message;
    const auto ours = spec_from_gguf(*file);
    ASSERT_TRUE(ours.ok()) << ours.error().message;
    const auto theirs = spec_from_hf_config(model.config, {});
    ASSERT_TRUE(theirs.ok()) << theirs.error().message;
    EXPECT_EQ(spec_to_json(*ours).dump(1), spec_to_json(*theirs).dump(1));
  }
}

TEST(GgufFamilies, NameWhatIsMissingOrCannotBeHonoured) {
  TestDirectory dir;
  int number = 0;
  const auto refusal = [&](const std::string& architecture, const ordered_json& change,
                           const std::vector<std::string>& tensors = {}) {
    ordered_json metadata = with(sizes(2, 64, 128, 256, 4, 2), kEps6);
    if (!change.is_null()) metadata.update(change);
    for (const auto& [key, value] : change.items()) {
      if (value.is_null()) metadata.erase(key);
    }
    const fs::path path = dir / (std::to_string(++number) + ".gguf");
    EXPECT_TRUE(write(path, {"", architecture, metadata, {}, tensors}).ok());
    const auto spec = spec_from_gguf(GgufFile::open(path).value());
    return spec.ok() ? "accepted" : spec.error().message;
  };
  EXPECT_EQ(refusal("qwen2", {}), "accepted");
  EXPECT_THAT(refusal("rwkv7", {}), HasSubstr("'rwkv7' is not supported in GGUF files; supported: gemma, gemma2"));
  EXPECT_THAT(refusal("qwen2", {{"block_count", nullptr}}), HasSubstr("'qwen2.block_count' is missing"));
  EXPECT_THAT(refusal("qwen2", {{"attention.head_count", 0}}), HasSubstr("must be at least 1"));
  EXPECT_THAT(refusal("qwen2", {{"attention.head_count_kv", {2, 1}}}), HasSubstr("differs between layers"));
  EXPECT_THAT(refusal("qwen2", {{"attention.sliding_window", 8}}), HasSubstr("'qwen2.attention.sliding_window'"));
  EXPECT_THAT(refusal("qwen2", {{"rope.scaling.type", "wavy"}}), HasSubstr("'wavy' is not supported"));
  EXPECT_THAT(refusal("qwen2", {{"rope.dimension_count", 8}}), HasSubstr("a part of each head"));
  EXPECT_THAT(refusal("phi3", {{"rope.dimension_count", 99}}), HasSubstr("not within a head"));
  EXPECT_THAT(refusal("qwen2", {{"attention.value_length", 8}}), HasSubstr("another width"));
  EXPECT_THAT(refusal("qwen2", {{"expert_count", 4}}), HasSubstr("'qwen2' with experts is not supported"));
  EXPECT_THAT(refusal("qwen2", {}, {"rope_freqs.weight"}), HasSubstr("for Llama only"));
  EXPECT_THAT(refusal("phi3", {}, {"rope_factors_long.weight"}), HasSubstr("'rope_factors_short.weight' is missing"));
  EXPECT_THAT(refusal("gemma2", {{"attention.key_length", 16}}), HasSubstr("attn_logit_softcapping' is missing"));
}

TEST(GgufFamilies, WeightsThatTheConvertersChangedAreRefused) {
  TestDirectory dir;
  for (const Case& model : cases()) {
    if (model.architecture == "qwen2" || model.architecture == "qwen3") continue;
    ASSERT_TRUE(write(dir / "m.gguf", model).ok());
    EXPECT_THAT(ModelSource::open(dir / "m.gguf").error().message, HasSubstr("cannot be read from a GGUF file"));
  }
}

}  // namespace
}  // namespace graft::formats
