#include "training/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serving/engine_test_support.h"
#include "training/generate_all.h"
#include "training/toy_session.h"

namespace graft::training {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocab = 257;
constexpr int32_t kEos = 256;

// A session that has learned to count: after byte b comes b + 1, after 'z' the end.
class CountingTest : public ::testing::Test {
 protected:
  CountingTest() : session_(kVocab, 0.0) {
    PackedBatch batch;
    for (int32_t byte = 'a'; byte <= 'z'; ++byte) {
      batch.tokens.push_back(byte);
      batch.labels.push_back(byte == 'z' ? kEos : byte + 1);
    }
    batch.cu_seqlens = {0, 26};
    StepParams params;
    params.learning_rate = 0.5;
    for (int step = 0; step < 40; ++step) {
      EXPECT_TRUE(session_.forward_backward(batch, 1.0 / 26, 0).ok());
      EXPECT_TRUE(session_.optim_step(params).ok());
    }
  }

  std::unique_ptr<serving::Engine> engine() {
    auto made = serving::Engine::create(std::move(session_.step_model(256)).value(), serving::byte_tokenizer(), {kEos},
                                        serving::EngineLimits{});
    made->add_adapter("trained", std::move(session_.snapshot()).value());
    return made;
  }

  static std::vector<int32_t> ids(std::string_view text) { return {text.begin(), text.end()}; }

  ToySession session_;
};

CertificateSubject subject() { return {"toy", "abc", "float32", "def", "test", "generic"}; }

TEST_F(CountingTest, CertificateHoldsWhereTrainingAndRuntimeAgree) {
  const auto running = engine();
  const auto certificate =
      make_certificate(session_, *running, "trained", {ids("abcdef"), ids("q"), ids("hello")}, subject());
  ASSERT_TRUE(certificate.ok()) << certificate.error().message;
  EXPECT_TRUE(certificate->holds());
  EXPECT_LT(certificate->largest_difference, 1e-5);
  ASSERT_EQ(certificate->examples.size(), 2U) << "one token has nothing to predict";
  ASSERT_EQ(certificate->examples[0].training.size(), 5U);
  EXPECT_GT(certificate->examples[0].training[2], -0.1F);
  EXPECT_LT(certificate->examples[1].training[2], -1.0F);

  const nlohmann::ordered_json json = to_json(*certificate);
  EXPECT_EQ(json["examples"][0]["tokens"].size(), 6U);
  EXPECT_EQ(json["examples"][0]["runtime_logprobs"].size(), 5U);
  EXPECT_EQ(json["holds"], true);
  EXPECT_EQ(json["adapter_sha256"], "def");
}

TEST_F(CountingTest, CertificateSaysWhereTheyDisagree) {
  session_.snapshot_error = 0.5;
  const auto running = engine();
  auto differing = make_certificate(session_, *running, "trained", {ids("hello")}, subject());
  ASSERT_TRUE(differing.ok());
  EXPECT_FALSE(differing->holds());
  EXPECT_GT(differing->largest_difference, 0.1);
}

TEST_F(CountingTest, CertificateOfAnUnknownAdapterIsAnError) {
  const auto running = engine();
  const auto certificate = make_certificate(session_, *running, "/no/such/adapter", {ids("abc")}, subject());
  EXPECT_FALSE(certificate.ok());
}

TEST_F(CountingTest, GeneratesManyInOrderWithFewInFlight) {
  const auto running = engine();
  std::vector<serving::GenerationRequest> requests;
  for (char first = 'a'; first <= 'y'; ++first) {
    serving::GenerationRequest request;
    request.prompt = {first};
    request.max_new_tokens = 30;
    request.adapter.id = "trained";
    requests.push_back(request);
  }
  int64_t done = 0;
  int64_t tokens = 0;
  GenerateAllOptions options;
  options.in_flight = 3;
  options.on_progress = [&](int64_t now, int64_t total) {
    EXPECT_EQ(now, done + 1);
    done = now;
    tokens = total;
    EXPECT_LE(running->stats().waiting + running->stats().running, 3);
  };
  const auto results = generate_all(*running, requests, options);
  ASSERT_TRUE(results.ok()) << results.error().message;
  ASSERT_EQ(results->size(), 25U);
  EXPECT_EQ(results->front().text, "bcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(results->back().text, "z");
  EXPECT_EQ(results->back().reason, serving::FinishReason::kEos);
  EXPECT_EQ(done, 25);
  EXPECT_GE(tokens, 25 * 26 / 2);
}

TEST_F(CountingTest, FirstRefusedRequestEndsTheBatch) {
  const auto running = engine();
  std::vector<serving::GenerationRequest> requests(3);
  for (auto& request : requests) {
    request.prompt = ids("abc");
    request.max_new_tokens = 4;
  }
  requests[1].max_new_tokens = 100000;
  const auto results = generate_all(*running, requests, {});
  ASSERT_FALSE(results.ok());
  EXPECT_THAT(results.error().message, HasSubstr("request 2: "));
  EXPECT_TRUE(running->healthy());
}

TEST_F(CountingTest, StopCancelsTheRest) {
  const auto running = engine();
  std::vector<serving::GenerationRequest> requests(50);
  for (auto& request : requests) {
    request.prompt = ids("a");
    request.max_new_tokens = 20;
  }
  std::atomic<bool> stop{false};
  GenerateAllOptions options;
  options.in_flight = 2;
  options.stop = &stop;
  options.on_progress = [&](int64_t done, int64_t) { stop = done >= 3; };
  const auto results = generate_all(*running, requests, options);
  ASSERT_FALSE(results.ok());
  EXPECT_EQ(results.error().kind, ErrorKind::kCancelled);
}

}  // namespace
}  // namespace graft::training
