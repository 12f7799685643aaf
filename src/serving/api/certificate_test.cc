// Certificates, asked again by the real engine over a model without arithmetic, whose answers depend on every byte of
// an adapter's adapter_config.json.
#include "serving/api/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "serving/api/adapter_resolver.h"
#include "serving/api/testing/engine_http.h"

namespace graft::serving::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Missing = CertificateChecker::Missing;
using nlohmann::json;

TEST(CertificateFile, IsReadWithinBounds) {
  json valid = {{"version", 1},          {"base_digest", "b"}, {"dtype", "float32"},
                {"adapter_sha256", "a"}, {"tolerance", 1e-4},  {"examples", json::array()}};
  valid["examples"].push_back({{"tokens", {1, 2, 3}}, {"training_logprobs", {-1.5, -2}}});
  const auto read = parse_certificate(valid.dump());
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->dtype, "float32");
  ASSERT_EQ(read->examples.size(), 1U);
  EXPECT_EQ(read->examples[0].logprobs[1], -2.0F);

  json many = valid;
  for (int i = 0; i < 100; ++i) many["examples"].push_back(valid["examples"][0]);
  EXPECT_EQ(parse_certificate(many.dump())->examples.size(), kMaxExamples);
  json longer = valid;
  longer["examples"].push_back(
      {{"tokens", std::vector<int>(9000, 1)}, {"training_logprobs", std::vector<float>(8999)}});
  EXPECT_EQ(parse_certificate(longer.dump())->examples.size(), 1U);

  const auto broken = [&](const char* key, const json& value) {
    json changed = valid;
    changed[key] = value;
    const auto outcome = parse_certificate(changed.dump());
    return outcome.ok() ? std::string() : outcome.error().message;
  };
  EXPECT_THAT(broken("version", 2), HasSubstr("version"));
  EXPECT_THAT(broken("tolerance", 5), HasSubstr("tolerance"));
  EXPECT_THAT(broken("tolerance", "x"), HasSubstr("no certificate"));
  EXPECT_THAT(broken("dtype", nullptr), HasSubstr("no certificate"));
  EXPECT_THAT(broken("base_digest", 7), HasSubstr("no certificate"));
  EXPECT_THAT(broken("examples", 7), HasSubstr("no certificate"));
  EXPECT_THAT(broken("examples", json::array({{{"tokens", {1, 2}}, {"training_logprobs", {-1, -1}}}})),
              HasSubstr("one fewer"));
  EXPECT_FALSE(parse_certificate("[]").ok());
  EXPECT_FALSE(parse_certificate("").ok());
}

class Certificates : public testing::EngineHttp {
 protected:
  void begin(Missing missing, const std::string& computes = "float32") {
    engine_ = Engine::create(std::make_unique<FakeStepModel>(256, 4), tokenizer_, {kFakeEos}, EngineLimits{});
    ApiConfig config;
    config.model_id = "fake";
    config.adapter_sources.certificates =
        std::make_shared<CertificateChecker>(CertificateChecker::Settings{missing, "the base", computes}, *engine_);
    auto server = ApiServer::start(config, *engine_, *tokenizer_, nullptr);
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(server).value();
  }

  std::string write_adapter(const std::string& name, const std::string& identity) {
    const fs::path directory = root_ / name;
    EXPECT_TRUE(make_directories(directory).ok());
    EXPECT_TRUE(write_file_atomic(directory / "adapter_config.json", identity).ok());
    EXPECT_TRUE(write_file_atomic(directory / "adapter_model.safetensors", "weights").ok());
    return directory;
  }

  // What the engine says now, certified; `change` may spoil it.
  void certify(const std::string& directory, const std::function<void(json&)>& change = {}) {
    GenerationRequest request;
    request.prompt = {'a', 'b', 'c', 'd', 'e'};
    request.max_new_tokens = 1;
    request.prompt_logprobs = true;
    request.adapter.id = directory;
    const auto result = generate(*engine_, request);
    ASSERT_TRUE(result.ok()) << result.error().message;
    std::vector<float> logprobs;
    for (size_t i = 1; i < request.prompt.size(); ++i) logprobs.push_back(result->prefill[i].logprob);
    json certificate = {
        {"version", 1},       {"base_digest", "the base"},
        {"dtype", "float32"}, {"adapter_sha256", sha256_hex(std::string_view("weights"))},
        {"tolerance", 1e-4},  {"examples", {{{"tokens", request.prompt}, {"training_logprobs", logprobs}}}}};
    if (change) change(certificate);
    ASSERT_TRUE(write_file_atomic(fs::path(directory) / "certificate.json", certificate.dump()).ok());
  }

  net::ClientResponse ask(const std::string& adapter) const {
    return post("/generate",
                json{{"inputs", "abc"},
                     {"parameters", {{"max_new_tokens", 3}, {"adapter_id", adapter}, {"adapter_source", "local"}}}}
                    .dump());
  }
  uint64_t steps() const { return engine_->stats().steps; }

  TestDirectory root_;
};

TEST_F(Certificates, AnAdapterThatAnswersAsCertifiedIsServedAndAskedAboutOnce) {
  begin(Missing::kRefused);
  const std::string adapter = write_adapter("good", "one");
  certify(adapter);
  const auto first = ask(adapter);
  EXPECT_EQ(first.status, 200) << first.body;
  const uint64_t before = steps();
  const auto second = ask(adapter);
  EXPECT_EQ(second.body, first.body);
  EXPECT_LE(steps() - before, 3U);  // its own steps alone
  EXPECT_EQ(ask("").status, 200);   // the base model needs none
}

TEST_F(Certificates, AnAdapterThatAnswersOtherwiseIsRefusedWithTheNumbers) {
  begin(Missing::kNoted);
  const std::string adapter = write_adapter("changed", "one");
  certify(adapter);
  ASSERT_EQ(ask(adapter).status, 200);
  write_adapter("changed", "another");  // the same weight file: only the numbers tell
  const auto refused = ask(adapter);
  EXPECT_EQ(refused.status, 424) << refused.body;
  EXPECT_THAT(refused.body, AllOf(HasSubstr("does not answer as certified"), HasSubstr("log-probability"),
                                  HasSubstr("nats apart where 0.0001 are allowed")));
  EXPECT_EQ(ask(adapter).body, refused.body);
  const auto openai = post("/v1/completions", json{{"model", adapter}, {"prompt", "abc"}, {"max_tokens", 2}}.dump());
  EXPECT_EQ(openai.status, 400) << openai.body;
  EXPECT_THAT(openai.body, HasSubstr("does not answer as certified"));
  certify(adapter);  // a new certificate is another version
  EXPECT_EQ(ask(adapter).status, 200);
}

TEST_F(Certificates, AMissingOneIsNotedOrRefusedAsAskedFor) {
  begin(Missing::kNoted);
  const std::string adapter = write_adapter("bare", "one");
  EXPECT_EQ(ask(adapter).status, 200);
  server_.reset();
  begin(Missing::kRefused);
  const auto refused = ask(adapter);
  EXPECT_EQ(refused.status, 424);
  EXPECT_THAT(refused.body, HasSubstr("has no certificate.json, and this server wants one"));
  certify(adapter);
  EXPECT_EQ(ask(adapter).status, 200);
}

TEST_F(Certificates, AnotherBaseAnotherFileAndNonsenseAreRefused) {
  begin(Missing::kNoted);
  const std::string base = write_adapter("base", "one");
  certify(base, [](json& c) { c["base_digest"] = "another base"; });
  EXPECT_THAT(ask(base).body, HasSubstr("on another base model"));
  const std::string file = write_adapter("file", "one");
  certify(file, [](json& c) { c["adapter_sha256"] = "0123"; });
  EXPECT_THAT(ask(file).body, HasSubstr("is not the file that was certified"));
  const std::string broken = write_adapter("broken", "one");
  ASSERT_TRUE(write_file_atomic(fs::path(broken) / "certificate.json", "{").ok());
  EXPECT_THAT(ask(broken).body, HasSubstr("certificate.json"));
  const std::string infinite = write_adapter("infinite", "one");
  certify(infinite, [](json& c) { c["examples"][0]["training_logprobs"][1] = -1e30; });
  EXPECT_EQ(ask(infinite).status, 424);
}

TEST_F(Certificates, AnEngineThatComputesInAnotherTypeComparesNoNumbers) {
  begin(Missing::kRefused, "int8");
  const std::string adapter = write_adapter("int8", "one");
  certify(adapter, [](json& c) { c["examples"][0]["training_logprobs"][0] = -40; });
  EXPECT_EQ(ask(adapter).status, 200);
  certify(adapter, [](json& c) { c["base_digest"] = "another base"; });
  EXPECT_EQ(ask(adapter).status, 424);
}

TEST_F(Certificates, ARefusedAdapterCannotBeMergedIn) {
  begin(Missing::kRefused);
  const std::string good = write_adapter("good", "one");
  certify(good);
  const std::string bare = write_adapter("bare", "two");
  const json merge = {
      {"inputs", "abc"},
      {"parameters",
       {{"max_new_tokens", 3},
        {"merged_adapters", {{"ids", {good, bare}}, {"weights", {0.5, 0.5}}, {"merge_strategy", "linear"}}},
        {"adapter_source", "local"}}}};
  const auto refused = post("/generate", merge.dump());
  EXPECT_EQ(refused.status, 424) << refused.body;
  EXPECT_THAT(refused.body, HasSubstr("bare: has no certificate.json"));
}

}  // namespace
}  // namespace graft::serving::api
