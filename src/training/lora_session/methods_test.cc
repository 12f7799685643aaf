// What a LoRA session can do beside plain LoRA: PiSSA, NEFTune, a classification head, going on from an adapter.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "formats/peft_adapter.h"
#include "runtime/classification_head.h"
#include "training/lora_session/lora_session.h"
#include "training/lora_session/neftune.h"
#include "training/lora_session/tiny_decoder_test.h"

namespace graft::training {
namespace {

using model::WeightDType;
using testing::HasSubstr;

class SessionMethodsTest : public TinyDecoderTest {
 protected:
  static SessionSettings plain() {
    SessionSettings settings;
    settings.peft.r = 6;
    settings.peft.lora_alpha = 9;
    settings.peft.target_modules.kind = formats::PeftModules::Kind::kAllLinear;
    settings.peft.base_model_name_or_path = "tiny";
    settings.seed = 5;
    settings.optimization = {AdamWSettings{.weight_decay = 0.01}};
    return settings;
  }
  // Trains rank 3.
  static SessionSettings pissa(int64_t iterations = 0) {
    SessionSettings settings = plain();
    settings.pissa = PissaSettings{iterations};
    return settings;
  }
  static SessionSettings classifier() {
    SessionSettings settings = plain();
    settings.peft.task = formats::PeftTask::kSequenceClassification;
    settings.labels = {"bitter", "sour", "sweet"};
    return settings;
  }
  static std::unique_ptr<Session> open(const SessionSettings& settings, WeightDType dtype = WeightDType::kFloat32) {
    auto made = make_lora_session(decoders_[dtype], settings);
    if (!made.ok()) ADD_FAILURE() << made.error().message;
    return made.ok() ? std::move(*made) : nullptr;
  }
  static std::string error_of(const SessionSettings& settings) {
    const auto made = make_lora_session(decoders_[WeightDType::kFloat32], settings);
    return made.ok() ? "no error" : made.error().message;
  }
};

// Sequences of these lengths, each row predicting its successor.
PackedBatch text_batch(const std::vector<int32_t>& tokens, const std::vector<int32_t>& lengths) {
  PackedBatch batch;
  batch.cu_seqlens.push_back(0);
  for (const int32_t n : lengths) {
    const int32_t begin = batch.cu_seqlens.back();
    for (int32_t i = 0; i < n; ++i) {
      batch.tokens.push_back(tokens[static_cast<size_t>(begin + i)]);
      batch.labels.push_back(i + 1 < n ? tokens[static_cast<size_t>(begin + i + 1)] : kIgnoreLabel);
    }
    batch.cu_seqlens.push_back(begin + n);
  }
  return batch;
}

// The same with a class for each.
PackedBatch class_batch(const std::vector<int32_t>& tokens, const std::vector<int32_t>& lengths) {
  PackedBatch batch = text_batch(tokens, lengths);
  std::fill(batch.labels.begin(), batch.labels.end(), kIgnoreLabel);
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    batch.labels[static_cast<size_t>(batch.cu_seqlens[i + 1] - 1)] = static_cast<int32_t>((i * 2) % 3);
  }
  return batch;
}

nlohmann::json job_of(const PackedBatch& batch, double rate, int steps) {
  nlohmann::json job = {{"lr", rate}, {"weight_decay", 0.01}, {"max_grad_norm", 0.5}, {"steps", steps}};
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    const auto cut = [&](const std::vector<int32_t>& values) {
      return std::vector<int32_t>(values.begin() + batch.cu_seqlens[i], values.begin() + batch.cu_seqlens[i + 1]);
    };
    job["sequences"].push_back(cut(batch.tokens));
    job["labels"].push_back(cut(batch.labels));
  }
  return job;
}

int64_t labelled(const PackedBatch& batch) {
  return std::count_if(batch.labels.begin(), batch.labels.end(), [](int32_t label) { return label >= 0; });
}

LossSum step(Session& session, const PackedBatch& batch, double rate, uint64_t stream = 0) {
  const auto loss = session.forward_backward(batch, 1.0 / static_cast<double>(labelled(batch)), stream);
  EXPECT_TRUE(loss.ok()) << loss.error().message;
  const auto norm = session.optim_step({rate, 0.5});
  EXPECT_TRUE(norm.ok());
  return loss.ok() ? *loss : LossSum{};
}

std::vector<float> logprobs(Session& session, const std::vector<int32_t>& tokens) {
  auto scores = session.logprobs(text_batch(tokens, {static_cast<int32_t>(tokens.size())}));
  EXPECT_TRUE(scores.ok());
  scores->pop_back();
  return *scores;
}

void expect_equal_steps(Session& session, const PackedBatch& batch, double rate, const nlohmann::json& expected) {
  for (size_t i = 0; i < expected["losses"].size(); ++i) {
    const auto loss = session.forward_backward(batch, 1.0 / static_cast<double>(labelled(batch)), 0);
    ASSERT_TRUE(loss.ok()) << loss.error().message;
    EXPECT_NEAR(loss->loss / static_cast<double>(loss->tokens),
                expected["losses"][i].get<double>() / static_cast<double>(loss->tokens), 1e-4)
        << "step " << i;
    const auto norm = session.optim_step({rate, 0.5});
    ASSERT_TRUE(norm.ok());
    EXPECT_NEAR(*norm, expected["norms"][i].get<double>(), 2e-3 * *norm) << "step " << i;
  }
}

TEST_F(SessionMethodsTest, PissaBeginsAsTheBaseAndItsStepsEqualPeft) {
  const PackedBatch batch = text_batch(tokens(), {70, 33, 90});
  nlohmann::json job = job_of(batch, 0.002, 10);
  job["lora"] = {{"r", 3}, {"lora_alpha", 4.5}, {"target_modules", "all-linear"}, {"init_lora_weights", "pissa"}};
  const auto expected = model::tiny_llama({"pissa", model_path(), job.dump()});
  ASSERT_TRUE(expected.is_object());
  const auto session = open(pissa());
  EXPECT_LT(model::largest_difference(logprobs(*session, tokens()), expected_["logprobs"]), 1e-3);
  EXPECT_EQ(session->trainable_parameters() * 2, open(plain())->trainable_parameters());
  expect_equal_steps(*session, batch, 0.002, expected);
  EXPECT_LT(model::largest_difference(logprobs(*session, tokens()), expected["logprobs"]), 5e-3);

  // What it saves is a plain LoRA over the unchanged base, in PEFT and here.
  const std::string saved = path("saved-pissa");
  ASSERT_TRUE(session->save_adapter(saved).ok());
  const auto scored = model::tiny_llama({"score", model_path(), saved});
  EXPECT_LT(model::largest_difference(logprobs(*session, tokens()), scored["logprobs"]), 1e-3);
  SessionSettings again = plain();
  again.pretrained = saved;
  EXPECT_EQ(logprobs(*open(again), tokens()), logprobs(*session, tokens()));
}

TEST_F(SessionMethodsTest, PissaByIterationsIsCloseToTheExactOneAndWhatIsFrozenStays) {
  const PackedBatch batch = text_batch(tokens(), {100, 100});
  const auto exact = open(pissa());
  const auto fast = open(pissa(8));
  const double difference = std::abs(step(*exact, batch, 0.002).loss - step(*fast, batch, 0.002).loss);
  EXPECT_LT(difference, 1e-2);
  const double after = std::abs(step(*exact, batch, 0.002).loss - step(*fast, batch, 0.002).loss);
  EXPECT_LT(after / 198, 1e-2);

  const auto frozen_of = [&](Session& session, const std::string& name) {
    const std::string folder = path(name);
    EXPECT_TRUE(session.save_adapter(folder).ok());
    const auto files = formats::PeftAdapter::open(folder, decoders_[WeightDType::kFloat32]->spec());
    EXPECT_TRUE(files.ok());
    const formats::TensorView a = files->modules().front().a;  // [6, in]: rows from 3 on are frozen
    return std::vector<std::byte>(a.data.begin() + static_cast<std::ptrdiff_t>(a.data.size() / 2), a.data.end());
  };
  const auto before = frozen_of(*exact, "frozen-before");
  for (int i = 0; i < 3; ++i) step(*exact, batch, 0.01);
  EXPECT_EQ(before, frozen_of(*exact, "frozen-after"));
}

TEST_F(SessionMethodsTest, PissaGoesOnWithTheSameBitsAndInBFloat16) {
  const PackedBatch batch = text_batch(tokens(), {100, 100});
  const auto session = open(pissa(4), WeightDType::kBFloat16);
  const double first = step(*session, batch, 0.01).loss;
  const std::string state = path("pissa-state");
  ASSERT_TRUE(session->save_state(state).ok());
  const auto resumed = open(pissa(4), WeightDType::kBFloat16);
  ASSERT_TRUE(resumed->load_state(state).ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(step(*session, batch, 0.01).loss, step(*resumed, batch, 0.01).loss);
  EXPECT_LT(step(*session, batch, 0.01).loss, first);
}

TEST_F(SessionMethodsTest, PissaOfMoreRankThanThereAreSingularValuesIsRefused) {
  SessionSettings settings = pissa();
  settings.peft.r = 2 * 33;  // k_proj is [32, 64]
  EXPECT_THAT(error_of(settings), HasSubstr("the rank 33 is more than the 32 singular values of model.layers.0"));
}

TEST(Neftune, NoiseIsBoundedByEachSequencesLengthAndAFunctionOfTheStream) {
  const std::vector<int32_t> ends = {0, 4, 104};
  const auto noise = [&](uint64_t stream) {
    std::vector<float> rows(104 * 10, 1.0F);
    add_embedding_noise(rows, ends, 5, stream);
    return rows;
  };
  const std::vector<float> rows = noise(7);
  EXPECT_EQ(rows, noise(7));
  EXPECT_NE(rows, noise(8));
  double largest[2] = {0, 0};
  double sum = 0;
  double squares = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const double value = rows[i] - 1.0;
    double& most = largest[i < 40 ? 0 : 1];
    most = std::max(most, std::abs(value));
    if (i < 40) continue;
    sum += value;
    squares += value * value;
  }
  const double bounds[2] = {5 / std::sqrt(40.0), 5 / std::sqrt(1000.0)};
  for (int i = 0; i < 2; ++i) {
    EXPECT_LE(largest[i], bounds[i] + 1e-6);
    EXPECT_GT(largest[i], 0.8 * bounds[i]);
  }
  EXPECT_NEAR(sum / 1000, 0, 0.1 * bounds[1]);
  EXPECT_NEAR(squares / 1000, bounds[1] * bounds[1] / 3, 0.1 * bounds[1] * bounds[1]);
}

TEST_F(SessionMethodsTest, NeftuneIsThereInTrainingPassesOnly) {
  const PackedBatch batch = text_batch(tokens(), {70, 33, 90});
  SessionSettings settings = plain();
  const auto quiet = open(settings);
  settings.neftune_noise_alpha = 5;
  const auto noisy = open(settings);
  EXPECT_EQ(quiet->evaluate(batch)->loss, noisy->evaluate(batch)->loss);
  EXPECT_EQ(logprobs(*quiet, tokens()), logprobs(*noisy, tokens()));
  const double loss = noisy->forward_backward(batch, 0.01, 3)->loss;
  EXPECT_NE(loss, quiet->forward_backward(batch, 0.01, 3)->loss);
  EXPECT_EQ(loss, open(settings)->forward_backward(batch, 0.01, 3)->loss);
  EXPECT_NE(loss, open(settings)->forward_backward(batch, 0.01, 4)->loss);
}

TEST_F(SessionMethodsTest, ClassifierStepsEqualTransformersWithPeft) {
  const PackedBatch batch = class_batch(tokens(), {70, 1, 33, 20, 60});
  const auto session = open(classifier());
  const std::string start = path("start-classifier");
  ASSERT_TRUE(session->save_adapter(start).ok());
  nlohmann::json job = job_of(batch, 0.01, 20);
  job["num_labels"] = 3;
  const auto expected = model::tiny_llama({"classify", model_path(), start, job.dump()});
  ASSERT_TRUE(expected.is_object());
  expect_equal_steps(*session, batch, 0.01, expected);
  const auto logits = session->classify(batch);
  ASSERT_TRUE(logits.ok()) << logits.error().message;
  std::vector<double> theirs;
  for (const auto& row : expected["logits"]) {
    for (const auto& value : row) theirs.push_back(value.get<double>());
  }
  EXPECT_LT(model::largest_difference(*logits, theirs), 5e-3);
  EXPECT_EQ(session->trainable_parameters(), open(plain())->trainable_parameters() + 3 * 64);

  // What it saves, peft loads, and says the same.
  const std::string saved = path("saved-classifier");
  ASSERT_TRUE(session->save_adapter(saved).ok());
  job["steps"] = 0;
  const auto loaded = model::tiny_llama({"classify", model_path(), saved, job.dump()});
  theirs.clear();
  for (const auto& row : loaded["logits"]) {
    for (const auto& value : row) theirs.push_back(value.get<double>());
  }
  EXPECT_LT(model::largest_difference(*logits, theirs), 1e-4);
}

class ClassifierDtypeTest : public SessionMethodsTest, public testing::WithParamInterface<WeightDType> {};
INSTANTIATE_TEST_SUITE_P(, ClassifierDtypeTest, testing::Values(WeightDType::kFloat32, WeightDType::kBFloat16),
                         [](const auto& tested) { return std::string(model::weight_dtype_name(tested.param)); });

TEST_P(ClassifierDtypeTest, LearnsAndTheRuntimeComputesTheSameBits) {
  const PackedBatch batch = class_batch(tokens(), {70, 1, 33, 20, 60});
  const auto session = open(classifier(), GetParam());
  const double first = step(*session, batch, 0.01).loss;
  for (int i = 0; i < 8; ++i) step(*session, batch, 0.01);
  EXPECT_LT(session->evaluate(batch)->loss, 0.5 * first);
  EXPECT_EQ(session->evaluate(batch)->tokens, 5);

  const std::string saved = path("runtime" + std::to_string(static_cast<int>(GetParam())));
  ASSERT_TRUE(session->save_adapter(saved).ok());
  const auto executor = std::move(*session->step_model(512));
  const auto snapshot = session->snapshot();
  const auto loaded = executor->load_adapter(saved);
  ASSERT_TRUE(snapshot.ok() && loaded.ok());
  const auto logits = *session->classify(batch);
  std::vector<int32_t> blocks(16);
  std::iota(blocks.begin(), blocks.end(), 1);
  for (const auto& adapter : {*snapshot, *loaded}) {
    ASSERT_NE(adapter->head(), nullptr);
    EXPECT_EQ(adapter->head()->labels, classifier().labels);
    for (size_t i = 0; i < 5; ++i) {
      const auto n = static_cast<size_t>(batch.cu_seqlens[i + 1] - batch.cu_seqlens[i]);
      runtime::SequenceSlice slice;
      slice.tokens = std::span(batch.tokens).subspan(static_cast<size_t>(batch.cu_seqlens[i]), n);
      slice.blocks = blocks;
      slice.adapter = adapter.get();
      slice.hidden = true;
      ASSERT_TRUE(executor->step({&slice, 1}).ok());
      const std::vector<float> served = runtime::apply_head(*adapter->head(), executor->hidden());
      EXPECT_EQ(served, std::vector<float>(logits.begin() + static_cast<std::ptrdiff_t>(3 * i),
                                           logits.begin() + static_cast<std::ptrdiff_t>(3 * i + 3)));
    }
  }
}

TEST_P(ClassifierDtypeTest, GoesOnFromItsStateAndFromItsFiles) {
  const PackedBatch batch = class_batch(tokens(), {70, 1, 33, 20, 60});
  for (const OptimizerSettings& optimizer : std::vector<OptimizerSettings>{AdamWSettings{}, MuonSettings{}}) {
    SessionSettings settings = classifier();
    settings.optimization = {.optimizer = optimizer, .ema_decay = 0.5};
    const auto session = open(settings, GetParam());
    for (int i = 0; i < 2; ++i) step(*session, batch, 0.01);
    const std::string state = path("classifier-state");
    ASSERT_TRUE(session->save_state(state).ok());
    const auto resumed = open(settings, GetParam());
    ASSERT_TRUE(resumed->load_state(state).ok());
    for (int i = 0; i < 2; ++i) EXPECT_EQ(step(*session, batch, 0.01).loss, step(*resumed, batch, 0.01).loss);
    EXPECT_EQ(*session->classify(batch), *resumed->classify(batch));
    const std::string saved = path("classifier-files");
    ASSERT_TRUE(session->save_adapter(saved).ok());
    SessionSettings on = settings;
    on.pretrained = saved;
    EXPECT_EQ(*session->classify(batch), *open(on, GetParam())->classify(batch));
  }
}

TEST_F(SessionMethodsTest, AHeadThatDoesNotFitTheDataIsRefused) {
  const std::string saved = path("three-labels");
  ASSERT_TRUE(open(classifier())->save_adapter(saved).ok());
  SessionSettings other = classifier();
  other.pretrained = saved;
  other.labels = {"bitter", "sweet"};
  EXPECT_THAT(error_of(other), HasSubstr("to tell apart bitter, sour, sweet, the data's labels are bitter, sweet"));
  SessionSettings text = plain();
  text.pretrained = saved;
  EXPECT_THAT(error_of(text), HasSubstr("it is a classifier"));
  // A classifier may begin with an adapter that wrote text.
  const std::string written = path("text-adapter");
  ASSERT_TRUE(open(plain())->save_adapter(written).ok());
  SessionSettings on = classifier();
  on.pretrained = written;
  EXPECT_EQ(open(on)->classify(class_batch(tokens(), {20}))->size(), 3U);
  EXPECT_FALSE(open(plain())->classify(class_batch(tokens(), {20})).ok());
}

TEST_F(SessionMethodsTest, AnAdapterOfOtherSettingsIsRefusedWithWhatDiffers) {
  const std::string saved = path("to-go-on-from");
  ASSERT_TRUE(open(plain())->save_adapter(saved).ok());
  const auto error_with = [&](const auto& change) {
    SessionSettings settings = plain();
    settings.pretrained = saved;
    change(settings.peft);
    return error_of(settings);
  };
  EXPECT_EQ(error_with([](auto&) {}), "no error");
  EXPECT_THAT(error_with([](auto& peft) { peft.r = 4; }),
              HasSubstr("q_proj is 6, the configuration's 4: set adapter.r"));
  EXPECT_THAT(error_with([](auto& peft) { peft.lora_alpha = 3; }), HasSubstr("set adapter.alpha"));
  EXPECT_THAT(error_with([](auto& peft) { peft.use_dora = true; }),
              HasSubstr("no DoRA: set adapter.use_dora to false"));
  EXPECT_THAT(error_with([](auto& peft) {
                peft.target_modules.kind = formats::PeftModules::Kind::kNames;
                peft.target_modules.names = {"q_proj"};
              }),
              HasSubstr("it adapts model.layers.0.self_attn.k_proj, which the configuration does not target"));
}

}  // namespace
}  // namespace graft::training
