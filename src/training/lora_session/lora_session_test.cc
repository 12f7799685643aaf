#include "training/lora_session/lora_session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "ops/cpu/kernels.h"
#include "training/lora_session/tiny_decoder_test.h"
#include "training/packed_sequences.h"

namespace graft::training {
namespace {

using model::WeightDType;

class LoraSessionTest : public TinyDecoderTest {
 protected:
  static std::unique_ptr<Session> session(WeightDType dtype, double dropout = 0, const std::string& pretrained = "",
                                          const Optimization& optimization = {AdamWSettings{.weight_decay = 0.01}},
                                          bool dora = false, bool checkpointing = false) {
    SessionSettings settings;
    settings.checkpointing = checkpointing;
    settings.peft.use_dora = dora;
    settings.peft.r = 5;
    settings.peft.lora_alpha = 10;
    settings.peft.lora_dropout = dropout;
    settings.peft.target_modules.kind = formats::PeftModules::Kind::kAllLinear;
    settings.peft.base_model_name_or_path = "tiny";
    settings.seed = 17;
    settings.pretrained = pretrained;
    settings.optimization = optimization;
    auto made = make_lora_session(decoders_[dtype], settings);
    if (!made.ok()) ADD_FAILURE() << made.error().message;
    return made.ok() ? std::move(*made) : nullptr;
  }
};

constexpr StepParams kStep{0.02, 0.5};

class StepsEqualTest : public LoraSessionTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Kinds, StepsEqualTest, testing::Bool(),
                         [](const auto& param) { return param.param ? "Dora" : "Lora"; });

TEST_P(StepsEqualTest, StepsEqualTorchWithPeft) {
  const auto sequences = cut(tokens(), {70, 1, 33, 96});
  const auto trained = session(WeightDType::kFloat32, 0, "", {AdamWSettings{.weight_decay = 0.01}}, GetParam());
  const std::string start = path(GetParam() ? "start-dora" : "start");
  ASSERT_TRUE(trained->save_adapter(start).ok());
  nlohmann::json job = {{"lr", 0.02}, {"weight_decay", 0.01}, {"max_grad_norm", 0.5}, {"steps", 5}};
  for (const auto& sequence : sequences) {
    const PackedBatch one = pack({sequence}, 4);
    job["sequences"].push_back(one.tokens);
    job["labels"].push_back(one.labels);
  }
  const auto expected = model::tiny_llama({"train", model_path(), start, job.dump()});
  ASSERT_TRUE(expected.is_object());

  const PackedBatch batch = pack(sequences, 4);
  const auto labelled = std::count_if(batch.labels.begin(), batch.labels.end(), [](int32_t x) { return x >= 0; });
  for (size_t step = 0; step < 5; ++step) {
    const auto loss = trained->forward_backward(batch, 1.0 / static_cast<double>(labelled), 0);
    ASSERT_TRUE(loss.ok()) << loss.error().message;
    EXPECT_EQ(loss->tokens, labelled);
    EXPECT_NEAR(loss->loss, expected["losses"][step].get<double>(), 2e-3 * loss->loss);
    const auto norm = trained->optim_step(kStep);
    ASSERT_TRUE(norm.ok());
    EXPECT_NEAR(*norm, expected["norms"][step].get<double>(), 1e-2 * *norm);
  }
  EXPECT_LT(model::largest_difference(next_token_logprobs(*trained, tokens()), expected["logprobs"]), 2e-2);

  // What it saves, peft loads, and says the same.
  const std::string saved = path(GetParam() ? "saved-dora" : "saved");
  ASSERT_TRUE(trained->save_adapter(saved).ok());
  const auto scored = model::tiny_llama({"score", model_path(), saved});
  EXPECT_LT(model::largest_difference(next_token_logprobs(*trained, tokens()), scored["logprobs"]), 1e-3);
}

TEST_F(LoraSessionTest, AdaptersOfPeftHaveTheSameLogprobs) {
  const std::vector<std::string> all = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
  const std::vector<nlohmann::json> settings = {
      {{"r", 3}, {"lora_alpha", 7}, {"target_modules", {"q_proj", "down_proj"}}},
      {{"r", 8}, {"lora_alpha", 16}, {"use_rslora", true}, {"target_modules", all}},
      {{"r", 4},
       {"lora_alpha", 8},
       {"target_modules", all},
       {"rank_pattern", {{"k_proj", 7}, {"layers.1.mlp.up_proj", 2}}},
       {"alpha_pattern", {{"v_proj", 3}}}},
      {{"r", 5}, {"lora_alpha", 7}, {"use_dora", true}, {"target_modules", all}},
      {{"r", 2},
       {"lora_alpha", 9},
       {"use_dora", true},
       {"use_rslora", true},
       {"target_modules", {"k_proj", "down_proj"}}}};
  for (size_t i = 0; i < settings.size(); ++i) {
    const std::string folder = path("peft" + std::to_string(i));
    const auto expected = model::tiny_llama({"adapter", model_path(), folder, settings[i].dump()});
    ASSERT_TRUE(expected.is_object());
    const auto base = session(WeightDType::kFloat32);
    const auto executor = base->step_model(512);
    ASSERT_TRUE(executor.ok());
    const auto adapter = (*executor)->load_adapter(folder);
    ASSERT_TRUE(adapter.ok()) << adapter.error().message;
    std::vector<int32_t> blocks(16);
    std::iota(blocks.begin(), blocks.end(), 3);
    const std::vector<int32_t> ids = tokens();
    const runtime::SequenceSlice slice{ids, 0, blocks, adapter->get(), runtime::LogitRows::kAll};
    const auto logits = (*executor)->step({&slice, 1});
    ASSERT_TRUE(logits.ok());
    const auto vocab = static_cast<size_t>((*executor)->info().vocab_size);
    std::vector<float> got;
    for (size_t row = 0; row + 1 < ids.size(); ++row) {
      got.push_back(-ops::cpu::kernels().cross_entropy(logits->data() + row * vocab, static_cast<int64_t>(vocab),
                                                       ids[row + 1], 1.0F, nullptr, true));
    }
    EXPECT_LT(model::largest_difference(got, expected["logprobs"]), 1e-3) << settings[i];
  }
}

class LoraSessionDtypeTest : public LoraSessionTest, public testing::WithParamInterface<WeightDType> {};

TEST_P(LoraSessionDtypeTest, TwoMicroBatchesEqualOne) {
  const auto sequences = cut(tokens(), {50, 60, 90});
  const auto whole = session(GetParam());
  const auto halves = session(GetParam());
  for (int step = 0; step < 3; ++step) {
    ASSERT_TRUE(whole->forward_backward(pack(sequences, 0), 1.0 / 197, 0).ok());
    ASSERT_TRUE(halves->forward_backward(pack({sequences[0], sequences[1]}, 0), 1.0 / 197, 0).ok());
    ASSERT_TRUE(halves->forward_backward(pack({sequences[2]}, 0), 1.0 / 197, 0).ok());
    const auto a = whole->optim_step(kStep);
    const auto b = halves->optim_step(kStep);
    EXPECT_NEAR(*a, *b, 1e-3 * *a);
  }
  const auto x = next_token_logprobs(*whole, tokens());
  const auto y = next_token_logprobs(*halves, tokens());
  EXPECT_LT(model::largest_difference(x, {y.begin(), y.end()}), GetParam() == WeightDType::kFloat32 ? 1e-2 : 0.5);
}

TEST_P(LoraSessionDtypeTest, CheckpointingChangesNoBit) {
  const auto sequences = cut(tokens(), {50, 60, 90});
  for (const bool dora : {false, true}) {
    const auto keeps = session(GetParam(), 0.1, "", {AdamWSettings{}}, dora);
    const auto computes_again = session(GetParam(), 0.1, "", {AdamWSettings{}}, dora, true);
    for (uint64_t stream = 0; stream < 3; ++stream) {
      for (Session* one : {keeps.get(), computes_again.get()}) {
        ASSERT_TRUE(one->forward_backward(pack({sequences[0], sequences[1]}, 0), 1.0 / 197, stream).ok());
        ASSERT_TRUE(one->forward_backward(pack({sequences[2]}, 0), 1.0 / 197, stream + 7).ok());
      }
      EXPECT_EQ(*keeps->optim_step(kStep), *computes_again->optim_step(kStep));
    }
    EXPECT_EQ(next_token_logprobs(*keeps, tokens()), next_token_logprobs(*computes_again, tokens()));
  }
}

TEST_P(LoraSessionDtypeTest, PackedSequencesDoNotSeeEachOther) {
  const auto sequences = cut(tokens(), {17, 64, 119});
  const auto trained = session(GetParam());
  ASSERT_TRUE(trained->forward_backward(pack(sequences, 0), 0.01, 0).ok());
  ASSERT_TRUE(trained->optim_step(kStep).ok());
  const auto packed = trained->logprobs(pack(sequences, 0));
  ASSERT_TRUE(packed.ok());
  size_t row = 0;
  for (const auto& sequence : sequences) {
    const auto alone = trained->logprobs(pack({sequence}, 0));
    for (const float value : *alone) {
      const float other = (*packed)[row++];
      EXPECT_TRUE(value == other || (std::isnan(value) && std::isnan(other)));
    }
  }
}

TEST_P(LoraSessionDtypeTest, ALoadedStateContinuesWithTheSameBits) {
  const PackedBatch batch = pack(cut(tokens(), {100, 100}), 2);
  const auto undisturbed = session(GetParam(), 0.1);
  const auto step = [&](Session& s, uint64_t number) {
    ASSERT_TRUE(s.forward_backward(batch, 0.01, number).ok());
    ASSERT_TRUE(s.optim_step(kStep).ok());
  };
  for (uint64_t i = 0; i < 2; ++i) step(*undisturbed, i);
  const std::string folder = path("state");
  ASSERT_TRUE(undisturbed->save_state(folder).ok());
  const auto resumed = session(GetParam(), 0.1);
  ASSERT_TRUE(resumed->load_state(folder).ok());
  for (uint64_t i = 2; i < 4; ++i) {
    step(*undisturbed, i);
    step(*resumed, i);
  }
  const auto x = next_token_logprobs(*undisturbed, tokens());
  EXPECT_EQ(x, next_token_logprobs(*resumed, tokens()));
  EXPECT_NE(x, next_token_logprobs(*session(GetParam()), tokens()));
}

TEST_P(LoraSessionDtypeTest, EveryOptimizerLearnsAndContinuesWithTheSameBits) {
  const PackedBatch batch = pack(cut(tokens(), {100, 100}), 2);
  for (const OptimizerSettings& optimizer :
       std::vector<OptimizerSettings>{AdamW8bitSettings{{}, 200}, LionSettings{}, AdafactorSettings{}, MuonSettings{},
                                      SgdSettings{.momentum = 0.9}}) {
    const Optimization optimization{.optimizer = optimizer, .loraplus_lr_ratio = 2, .ema_decay = 0.5};
    const auto name = std::string(optimizer_name(optimizer));
    const auto undisturbed = session(GetParam(), 0, "", optimization);
    std::vector<double> losses;
    const auto step = [&](Session& s) {
      const auto loss = s.forward_backward(batch, 1.0 / 196, 0);
      ASSERT_TRUE(loss.ok());
      losses.push_back(loss->loss);
      ASSERT_TRUE(s.optim_step({0.005, 1.0}).ok());
      ASSERT_TRUE(s.evaluate(batch).ok());
    };
    for (int i = 0; i < 3; ++i) step(*undisturbed);
    EXPECT_LT(losses.back(), losses.front()) << name;
    const std::string folder = path("state-" + name + std::to_string(static_cast<int>(GetParam())));
    ASSERT_TRUE(undisturbed->save_state(folder).ok());
    const auto resumed = session(GetParam(), 0, "", optimization);
    ASSERT_TRUE(resumed->load_state(folder).ok());
    step(*undisturbed);
    step(*resumed);
    EXPECT_EQ(next_token_logprobs(*undisturbed, tokens()), next_token_logprobs(*resumed, tokens())) << name;
    const auto other = session(GetParam())->load_state(folder);
    ASSERT_FALSE(other.ok());
    EXPECT_NE(other.error().message.find("of the optimizer " + name), std::string::npos) << other.error().message;
  }
}

TEST_P(LoraSessionDtypeTest, TheAverageIsServedAndSavedAndTrainingIsNotDisturbed) {
  const PackedBatch batch = pack({tokens()}, 0);
  const auto plain = session(GetParam());
  const auto averaged =
      session(GetParam(), 0, "", {.optimizer = AdamWSettings{.weight_decay = 0.01}, .ema_decay = 0.5});
  std::vector<float> behind;
  for (int i = 0; i < 3; ++i) {
    const auto x = plain->forward_backward(batch, 0.01, 0);
    const auto y = averaged->forward_backward(batch, 0.01, 0);
    EXPECT_EQ(x->loss, y->loss);
    ASSERT_TRUE(plain->optim_step(kStep).ok() && averaged->optim_step(kStep).ok());
    behind = next_token_logprobs(*averaged, tokens());
  }
  EXPECT_NE(behind, next_token_logprobs(*plain, tokens()));
  const std::string saved = path("average" + std::to_string(static_cast<int>(GetParam())));
  ASSERT_TRUE(averaged->save_adapter(saved).ok());
  EXPECT_EQ(next_token_logprobs(*session(GetParam(), 0, saved), tokens()), behind);
}

TEST_P(LoraSessionDtypeTest, TheRuntimeComputesTheSameBitsAsTheSession) {
  const auto trained = session(GetParam());
  ASSERT_TRUE(trained->forward_backward(pack({tokens()}, 0), 0.01, 0).ok());
  ASSERT_TRUE(trained->optim_step(kStep).ok());
  const auto expected = next_token_logprobs(*trained, tokens());
  const auto snapshot = trained->snapshot();
  const auto executor = trained->step_model(512);
  ASSERT_TRUE(snapshot.ok() && executor.ok());
  std::vector<int32_t> blocks(16);
  std::iota(blocks.rbegin(), blocks.rend(), 2);
  const std::vector<int32_t> ids = tokens();
  const auto vocab = (*executor)->info().vocab_size;
  size_t row = 0;
  for (const size_t n : {1, 63, 2, 70, 64}) {  // cut anyhow
    const runtime::SequenceSlice slice{std::span<const int32_t>(ids).subspan(row, n), static_cast<int64_t>(row), blocks,
                                       snapshot->get(), runtime::LogitRows::kAll};
    const auto logits = (*executor)->step({&slice, 1});
    ASSERT_TRUE(logits.ok()) << logits.error().message;
    for (size_t i = 0; i < n && row + i < expected.size(); ++i) {
      const float got = -ops::cpu::kernels().cross_entropy(logits->data() + static_cast<int64_t>(i) * vocab, vocab,
                                                           ids[row + i + 1], 1.0F, nullptr, true);
      EXPECT_EQ(got, expected[row + i]) << "position " << row + i;
    }
    row += n;
  }
}

TEST_P(LoraSessionDtypeTest, LogitsDoNotDependOnWhoSharesTheBatch) {
  const auto base = session(GetParam());
  std::vector<std::shared_ptr<const runtime::AdapterWeights>> adapters = {nullptr};
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(base->forward_backward(pack({tokens()}, 0), 0.01, 0).ok());
    ASSERT_TRUE(base->optim_step(kStep).ok());
    adapters.push_back(*base->snapshot());
  }
  const auto executor = std::move(*base->step_model(4096));
  const auto vocab = static_cast<size_t>(executor->info().vocab_size);
  const std::vector<int32_t> ids = tokens();
  // Sequence i: adapter i % 4, a prompt of 3 + 7 i tokens, then one token a step.
  const auto slice_of = [&](size_t i, size_t step, const std::vector<int32_t>& blocks) {
    const size_t prompt = 3 + 7 * i;
    const std::span<const int32_t> all(ids);
    const size_t at = step == 0 ? 0 : prompt + step - 1;
    return runtime::SequenceSlice{all.subspan(at, step == 0 ? prompt : 1), static_cast<int64_t>(at), blocks,
                                  adapters[i % 4].get(), runtime::LogitRows::kLast};
  };
  std::vector<std::vector<int32_t>> tables(16);
  for (size_t i = 0; i < 16; ++i) {
    for (int32_t b = 0; b < 12; ++b) tables[i].push_back(b * 16 + static_cast<int32_t>((i * 5) % 16));
  }
  std::vector<std::vector<float>> together(16);
  for (size_t step = 0; step < 4; ++step) {
    std::vector<runtime::SequenceSlice> slices;
    for (size_t i = 0; i < 16; ++i) slices.push_back(slice_of(i, step, tables[i]));
    const auto logits = executor->step(slices);
    ASSERT_TRUE(logits.ok());
    for (size_t i = 0; i < 16; ++i) {
      together[i].insert(together[i].end(), logits->begin() + static_cast<std::ptrdiff_t>(i * vocab),
                         logits->begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab));
    }
  }
  for (size_t i = 0; i < 16; ++i) {
    std::vector<float> alone;
    for (size_t step = 0; step < 4; ++step) {
      const runtime::SequenceSlice slice = slice_of(i, step, tables[(i + 1) % 16]);
      const auto logits = executor->step({&slice, 1});
      alone.insert(alone.end(), logits->begin(), logits->end());
    }
    EXPECT_EQ(alone, together[i]) << "sequence " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(, LoraSessionDtypeTest, testing::Values(WeightDType::kFloat32, WeightDType::kBFloat16),
                         [](const auto& tested) { return std::string(model::weight_dtype_name(tested.param)); });

TEST_F(LoraSessionTest, AnAdapterOfAnotherModelIsRefused) {
  const std::string other = (*directory_ / "other").string();
  ASSERT_TRUE(model::tiny_llama({"model", other, R"({"hidden_size": 32})"}).is_object());
  const std::string folder = path("foreign");
  ASSERT_TRUE(model::tiny_llama({"adapter", other, folder, R"({"r": 4, "target_modules": ["q_proj"]})"}).is_object());
  const auto executor = session(WeightDType::kFloat32)->step_model(64);
  const auto adapter = (*executor)->load_adapter(folder);
  ASSERT_FALSE(adapter.ok());
  EXPECT_NE(adapter.error().message.find("q_proj"), std::string::npos) << adapter.error().message;
  EXPECT_NE(adapter.error().message.find("foreign"), std::string::npos) << adapter.error().message;
}

}  // namespace
}  // namespace graft::training
