#include "training/full_session/full_session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "model/tiny_llama.h"
#include "ops/cpu/kernels.h"
#include "training/packed_sequences.h"

namespace graft::training {
namespace {

using model::WeightDType;

constexpr StepParams kStep{.learning_rate = 0.01};

// Two small models, one with a tied output layer; writing one starts Python.
class FullSessionTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::make_unique<TestDirectory>();
    expected_ = model::tiny_llama({"model", model_path(false)});
    model::tiny_llama({"model", model_path(true), R"({"tie_word_embeddings": true})"});
  }
  static void TearDownTestSuite() { directory_.reset(); }
  static std::string model_path(bool tied) { return (*directory_ / (tied ? "tied" : "model")).string(); }
  static std::string path(const std::string& name) {
    std::filesystem::create_directories(*directory_ / name);
    return (*directory_ / name).string();
  }
  static std::vector<int32_t> tokens() { return expected_["tokens"].get<std::vector<int32_t>>(); }

  static std::unique_ptr<Session> session(WeightDType dtype, bool tied, bool checkpointing,
                                          const OptimizerSettings& optimizer = AdamW8bitSettings{}) {
    FullSettings settings;
    settings.optimization.optimizer = optimizer;
    settings.seed = 5;
    settings.checkpointing = checkpointing;
    auto source = formats::ModelSource::open(model_path(tied));
    if (source.ok()) settings.source = std::move(*source);
    auto made = make_full_session(model::tiny_decoder(model_path(tied), dtype), settings);
    if (!made.ok()) ADD_FAILURE() << made.error().message;
    return made.ok() ? std::move(*made) : nullptr;
  }

  inline static std::unique_ptr<TestDirectory> directory_;
  inline static nlohmann::json expected_;
};

// -> the loss and the gradient's norm of a step.
std::pair<double, double> step(Session& session, const PackedBatch& batch, const StepParams& params = kStep) {
  const auto labelled = std::count_if(batch.labels.begin(), batch.labels.end(), [](int32_t x) { return x >= 0; });
  EXPECT_TRUE(session.begin_step(params).ok());
  const auto loss = session.forward_backward(batch, 1.0 / static_cast<double>(labelled), 0);
  EXPECT_TRUE(loss.ok()) << loss.error().message;
  const auto norm = session.optim_step(params);
  EXPECT_TRUE(norm.ok());
  return {loss->loss, *norm};
}

class FullTorchTest : public FullSessionTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Tied, FullTorchTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Tied" : "Untied"; });

// Without clipping, and with each parameter's gradient clipped.
TEST_P(FullTorchTest, SlowStepsEqualTorchsInFloat32) {
  const auto sequences = cut(tokens(), {70, 1, 33, 95});
  const std::vector<double> clips = {0.0, 0.05};
  nlohmann::json job = {{"lr", 1e-3}, {"weight_decay", 0.01}, {"max_parameter_norms", clips}, {"steps", 5}};
  for (const auto& sequence : sequences) {
    const PackedBatch one = pack({sequence}, 4);
    job["sequences"].push_back(one.tokens);
    job["labels"].push_back(one.labels);
  }
  const auto expected = model::tiny_llama({"train_full", model_path(GetParam()), job.dump()});
  ASSERT_TRUE(expected.is_object());
  for (size_t run = 0; run < clips.size(); ++run) {
    const nlohmann::json& torchs = expected["runs"][run];
    const auto trained = session(WeightDType::kFloat32, GetParam(), run > 0, AdamWSettings{.weight_decay = 0.01});
    for (size_t i = 0; i < 5; ++i) {
      const auto [loss, norm] =
          step(*trained, pack(sequences, 4), {.learning_rate = 1e-3, .max_parameter_norm = clips[run]});
      EXPECT_NEAR(loss, torchs["losses"][i].get<double>(), 1e-4 * loss) << "step " << i;
      EXPECT_NEAR(norm, torchs["norms"][i].get<double>(), 1e-3 * norm) << "step " << i;
    }
    EXPECT_LT(model::largest_difference(next_token_logprobs(*trained, tokens()), torchs["logprobs"]), 1e-2);
    if (run > 0) continue;
    // What it saves, transformers loads, and says the same.
    const std::string saved = path(std::string("saved") + (GetParam() ? "t" : "u"));
    const Status status = trained->save_adapter(saved);
    ASSERT_TRUE(status.ok()) << status.error().message;
    const auto scored = model::tiny_llama({"score", saved});
    EXPECT_LT(model::largest_difference(next_token_logprobs(*trained, tokens()), scored["logprobs"]), 1e-3);
  }
}

class FullSessionDtypeTest : public FullSessionTest, public testing::WithParamInterface<WeightDType> {};
INSTANTIATE_TEST_SUITE_P(, FullSessionDtypeTest, testing::Values(WeightDType::kFloat32, WeightDType::kBFloat16),
                         [](const auto& tested) { return std::string(model::weight_dtype_name(tested.param)); });

TEST_P(FullSessionDtypeTest, CheckpointingChangesNoBit) {
  const PackedBatch batch = pack(cut(tokens(), {100, 1, 98}), 2);
  for (const bool tied : {false, true}) {
    const auto keeps = session(GetParam(), tied, false);
    const auto computes_again = session(GetParam(), tied, true);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(step(*keeps, batch), step(*computes_again, batch));
    EXPECT_EQ(next_token_logprobs(*keeps, tokens()), next_token_logprobs(*computes_again, tokens()));
  }
}

TEST_P(FullSessionDtypeTest, ALoadedStateContinuesWithTheSameBits) {
  const PackedBatch batch = pack(cut(tokens(), {100, 100}), 2);
  for (const OptimizerSettings& optimizer : std::vector<OptimizerSettings>{AdamW8bitSettings{}, AdamWSettings{}}) {
    const auto undisturbed = session(GetParam(), true, false, optimizer);
    for (int i = 0; i < 2; ++i) step(*undisturbed, batch);
    const std::string folder = path("state" + std::to_string(optimizer.index()));
    ASSERT_TRUE(undisturbed->save_state(folder).ok());
    const auto resumed = session(GetParam(), true, false, optimizer);
    EXPECT_NE(next_token_logprobs(*undisturbed, tokens()), next_token_logprobs(*resumed, tokens()));
    const Status loaded = resumed->load_state(folder);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    for (int i = 0; i < 2; ++i) EXPECT_EQ(step(*undisturbed, batch), step(*resumed, batch));
    EXPECT_EQ(next_token_logprobs(*undisturbed, tokens()), next_token_logprobs(*resumed, tokens()));
  }
  const auto other = session(GetParam(), true, false)->load_state(path("state0"));
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("optimizer.type"), std::string::npos) << other.error().message;
}

TEST_P(FullSessionDtypeTest, LearnsWith8BitMoments) {
  const PackedBatch batch = pack(cut(tokens(), {100, 100}), 2);
  const auto trained = session(GetParam(), true, false);
  const double first = step(*trained, batch, {.learning_rate = 1e-3}).first;
  double last = first;
  for (int i = 0; i < 12; ++i) last = step(*trained, batch, {.learning_rate = 1e-3}).first;
  EXPECT_LT(last, 0.7 * first);
}

TEST_P(FullSessionDtypeTest, TheRuntimeComputesTheSameBitsAndSoDoesTheSavedModel) {
  const auto trained = session(GetParam(), false, false);
  const auto before = next_token_logprobs(*trained, tokens());
  for (int i = 0; i < 2; ++i) step(*trained, pack({tokens()}, 0));
  const auto expected = next_token_logprobs(*trained, tokens());
  EXPECT_NE(before, expected);
  const auto model = trained->step_model(512);
  ASSERT_TRUE(model.ok());
  std::vector<int32_t> blocks(16);
  std::iota(blocks.begin(), blocks.end(), 2);
  const std::vector<int32_t> ids = tokens();
  const runtime::SequenceSlice slice{ids, 0, blocks, nullptr, runtime::LogitRows::kAll};
  const auto logits = (*model)->step({&slice, 1});
  ASSERT_TRUE(logits.ok());
  const int64_t vocab = (*model)->info().vocab_size;
  for (size_t row = 0; row + 1 < ids.size(); ++row) {
    const float got = -ops::cpu::kernels().cross_entropy(logits->data() + static_cast<int64_t>(row) * vocab, vocab,
                                                         ids[row + 1], 1.0F, nullptr, true);
    ASSERT_EQ(got, expected[row]) << "position " << row;
  }
  const std::string saved = path(std::string("served-") + model::weight_dtype_name(GetParam()));
  ASSERT_TRUE(trained->save_adapter(saved).ok());
  FullSettings settings;
  const auto reopened = make_full_session(model::tiny_decoder(saved, GetParam()), settings);
  ASSERT_TRUE(reopened.ok());
  EXPECT_EQ(next_token_logprobs(**reopened, tokens()), expected);
  EXPECT_TRUE((*reopened)->base_model(64).ok());
}

TEST_F(FullSessionTest, ASecondPassOfAStepAndClippingByTheWholeNormAreRefused) {
  const PackedBatch batch = pack({tokens()}, 0);
  const auto trained = session(WeightDType::kBFloat16, true, false);
  EXPECT_FALSE(trained->forward_backward(batch, 0.01, 0).ok());
  EXPECT_FALSE(trained->begin_step({.learning_rate = 0.01, .max_grad_norm = 1.0}).ok());
  ASSERT_TRUE(trained->begin_step(kStep).ok());
  EXPECT_TRUE(trained->forward_backward(batch, 0.01, 0).ok());
  EXPECT_FALSE(trained->forward_backward(batch, 0.01, 0).ok());
}

TEST_F(FullSessionTest, WhatCannotBeTrainedIsRefused) {
  const auto refused = [](WeightDType dtype, const Optimization& optimization, const char* why) {
    FullSettings settings;
    settings.optimization = optimization;
    const auto made = make_full_session(model::tiny_decoder(model_path(false), dtype), settings);
    ASSERT_FALSE(made.ok());
    EXPECT_NE(made.error().message.find(why), std::string::npos) << made.error().message;
  };
  refused(WeightDType::kInt8, {.optimizer = AdamWSettings{}}, "set trainer.dtype to");
  refused(WeightDType::kFloat32, {.optimizer = LionSettings{}}, "set trainer.optimizer.type to");
  refused(WeightDType::kFloat32, {.optimizer = AdamWSettings{}, .ema_decay = 0.9}, "set trainer.ema_decay to 0");
  refused(WeightDType::kFloat32, {.optimizer = AdamWSettings{}, .no_decay = {"lora_B"}}, "names no trained parameter");
}

}  // namespace
}  // namespace graft::training
