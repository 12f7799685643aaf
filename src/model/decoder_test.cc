#include "model/decoder.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/prepare.h"
#include "model/supported.h"
#include "model/tiny_llama.h"
#include "model/weights.h"
#include "ops/cross_entropy.h"

namespace graft::model {
namespace {

class DecoderTest : public testing::TestWithParam<const char*> {};

std::vector<float> logprobs_of(const Decoder& decoder, const std::vector<int32_t>& tokens) {
  const at::NoGradGuard no_grad;
  const std::vector<int32_t> labels(tokens.begin() + 1, tokens.end());
  PackedContext context({0, static_cast<int32_t>(tokens.size())});
  const at::Tensor residual = decoder.forward(tokens, context, {});
  const at::Tensor normed = decoder.final_norm(residual.narrow(0, 0, static_cast<int64_t>(labels.size())).contiguous());
  std::vector<float> out = ops::linear_cross_entropy(normed, decoder.weights().lm_head, labels, 1.0).losses;
  for (float& value : out) value = -value;
  return out;
}

TEST_P(DecoderTest, LogprobsEqualTransformers) {
  const TestDirectory directory;
  const auto expected = tiny_llama({"model", (directory / "model").string(), GetParam()});
  ASSERT_TRUE(expected.is_object());
  const auto tokens = expected["tokens"].get<std::vector<int32_t>>();
  for (const WeightDType dtype : {WeightDType::kFloat32, WeightDType::kBFloat16}) {
    const auto decoder = tiny_decoder(directory / "model", dtype);
    ASSERT_NE(decoder, nullptr);
    EXPECT_LT(largest_difference(logprobs_of(*decoder, tokens), expected["logprobs"]),
              dtype == WeightDType::kFloat32 ? 1e-3 : 0.5)
        << weight_dtype_name(dtype);
  }
}

INSTANTIATE_TEST_SUITE_P(
    , DecoderTest,
    testing::Values(R"({})", R"({"tie_word_embeddings": true, "rms_norm_eps": 1e-6})",
                    R"({"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
                        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}})",
                    R"({"rope_scaling": {"rope_type": "linear", "factor": 2.0}})"));

formats::ModelSpec smallest_spec() {
  formats::ModelSpec spec;
  spec.vocab_size = 4;
  spec.hidden_size = 16;
  spec.intermediate_size = 16;
  spec.num_layers = 1;
  spec.num_heads = spec.num_kv_heads = 1;
  spec.head_dim = 16;
  spec.tie_word_embeddings = true;
  return spec;
}

TEST(Supported, EverythingThatTheDecoderLacksIsNamed) {
  formats::ModelSpec spec = smallest_spec();
  EXPECT_TRUE(supported_by_decoder(spec).ok());
  spec.architecture = "Gemma2ForCausalLM";
  spec.attention = {formats::AttentionKind::kSliding};
  spec.sliding_window = 8;
  spec.norm = formats::NormKind::kRmsPlusOne;
  spec.attention_soft_cap = 50;
  EXPECT_EQ(supported_by_decoder(spec).error().message,
            "Gemma2ForCausalLM: not supported by the decoder yet: sliding windows (sliding_window 8), a soft cap on "
            "attention, norms other than the plain RMS norm");
  spec = smallest_spec();
  spec.qkv_bias = true;
  spec.rope.kind = formats::RopeKind::kYarn;
  EXPECT_NE(supported_by_decoder(spec).error().message.find("yet: rope scaling of type yarn, projections with a bias"),
            std::string::npos);
}

TEST(Prepare, WeightsThatAreNotFiniteAreRefusedByName) {
  const TestDirectory directory;
  const formats::ModelSpec spec = smallest_spec();
  const auto read = [&](const std::string& name) -> Result<std::vector<float>> {
    std::vector<float> values(name.find("norm") != std::string::npos ? 16 : 256, 1.0F);
    if (name == "model.embed_tokens.weight") values.resize(64);
    if (name == "model.layers.0.mlp.up_proj.weight") values[7] = std::nanf("");
    return values;
  };
  const Status status = prepare_weights(spec, read, WeightDType::kBFloat16, directory / "weights.safetensors");
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("model.layers.0.mlp.up_proj.weight"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(directory / "weights.safetensors"));
}

TEST(OpenPrepared, AFileOfAnotherModelIsRefused) {
  const TestDirectory directory;
  formats::ModelSpec spec = smallest_spec();
  const auto read = [&](const std::string& name) -> Result<std::vector<float>> {
    if (name == "model.embed_tokens.weight") return std::vector<float>(64, 1.0F);
    return std::vector<float>(name.find("norm") != std::string::npos ? 16 : 256, 1.0F);
  };
  ASSERT_TRUE(prepare_weights(spec, read, WeightDType::kFloat32, directory / "w").ok());
  EXPECT_TRUE(open_prepared(directory / "w", spec).ok());
  spec.vocab_size = 5;
  const auto other = open_prepared(directory / "w", spec);
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("another model (vocab 4 "), std::string::npos);
}

}  // namespace
}  // namespace graft::model
