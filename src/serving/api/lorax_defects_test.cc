// Defects of LoRAX that must be absent here, by the numbers of our notes on it. 3 (alpha over a padded rank) and 4
// (merging) are held against PEFT where adapters are built.

#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/test_directory.h"
#include "serving/api/json_text.h"
#include "serving/api/testing/engine_http.h"

namespace graft::serving::api {
namespace {

using ::testing::HasSubstr;

class LoraxDefects : public testing::EngineHttp {
 protected:
  std::string answer_of(const std::string& adapter) const {
    const OrderedJson body{
        {"inputs", "0123456789"},
        {"parameters",
         {{"adapter_id", adapter}, {"max_new_tokens", 6}, {"ignore_eos_token", true}, {"details", true}}}};
    const auto response = post("/generate", body.dump());
    EXPECT_EQ(response.status, 200) << response.body;
    const OrderedJson json = OrderedJson::parse(response.body, nullptr, false);
    return json.is_discarded() ? "" : json["details"]["tokens"].dump();
  }
};

// An unknown merge strategy or an adapter id that is not ASCII panicked, and took the router with it.
TEST_F(LoraxDefects, No1ABadRequestEndsNothingButItself) {
  start({});
  const std::vector<std::string> bad{
      R"({"inputs":"a","parameters":{"merged_adapters":{"ids":["a","b"],"weights":[1,1],"merge_strategy":"magic"}}})",
      R"({"inputs":"a","parameters":{"merged_adapters":{"ids":["a"],"weights":[1],"majority_sign_method":"x"}}})",
      R"({"inputs":"a","parameters":{"adapter_source":"nowhere","adapter_id":"x"}})",
      R"({"inputs":"a","parameters":{"adapter_id":"x\u0000y"}})",
      "{\"inputs\":\"\xFF\"}",
      "[]",
      ""};
  for (const std::string& body : bad) {
    for (const char* path : {"/", "/generate", "/generate_stream"}) {
      const auto response = post(path, body);
      EXPECT_TRUE(response.status == 200 || (response.status >= 400 && response.status < 500)) << path << body;
      EXPECT_THAT(response.body, HasSubstr("error")) << path << body;
    }
  }
  const auto response = post("/generate", R"({"inputs":"a","parameters":{"adapter_id":"caf\u00e9 \ud83d\ude80",
                                                                          "max_new_tokens":1}})");
  EXPECT_TRUE(response.status == 200 || response.status == 424) << response.status;
  EXPECT_EQ(post("/generate", R"({"inputs":"a","parameters":{"max_new_tokens":1}})").status, 200);
}

// Once loaded, a private adapter was served to anybody who knew its name.
TEST_F(LoraxDefects, No2AnAdaptersIdentityIncludesItsSourceAndToken) {
  start({}, [&](FakeStepModel& model) {
    model.loader = [&](const std::string& path) -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
      return std::shared_ptr<const runtime::AdapterWeights>(
          std::make_shared<FakeAdapter>(std::hash<std::string>{}(path) + static_cast<uint64_t>(++steps_)));
    };
  });
  for (const char* token : {"owner", "thief", "owner"}) {
    GenerationRequest asked = request({1, 2, 3}, 2);
    asked.adapter = {"private", "local", token};
    ASSERT_TRUE(generate(*engine_, asked).ok());
  }
  EXPECT_EQ(steps_, 2);  // the thief did not get the owner's; the owner found it again
}

// A changed adapter was never read again.
TEST_F(LoraxDefects, No5AnAdapterThatChangesUnderItsNameIsReadAgain) {
  const TestDirectory directory;
  start({});
  const auto write = [&](const std::string& config) {
    std::ofstream(directory / "new") << config;
    std::filesystem::rename(directory / "new", directory / "adapter_config.json");
  };
  const std::string id = directory.path().string();
  write("{\"v\": 1}");
  const std::string first = answer_of(id);
  EXPECT_EQ(answer_of(id), first);
  write("{\"v\": 2}");
  EXPECT_NE(answer_of(id), first);
  write("{\"v\": 1}");
  EXPECT_EQ(answer_of(id), first);
}

// Loading an adapter held up everybody's decoding.
TEST_F(LoraxDefects, No6LoadingDoesNotStallDecoding) {
  start({}, [&](FakeStepModel& model) {
    model.loader = [&](const std::string&) -> Result<std::shared_ptr<const runtime::AdapterWeights>> {
      gate_.pass();
      return std::shared_ptr<const runtime::AdapterWeights>(std::make_shared<FakeAdapter>(5));
    };
  });
  std::thread slow([&] { answer_of("slow"); });
  gate_.wait_for_arrival();
  for (int i = 0; i < 3; ++i) answer_of("");  // while it loads
  EXPECT_EQ(engine_->stats().adapters_waiting, 1);
  gate_.open();
  slow.join();
}

// The model hung and /health said that all was well; and nobody could see which adapter did what.
TEST_F(LoraxDefects, No7AHangShowsInHealthAndAdaptersHaveMetrics) {
  EngineLimits limits;
  limits.stall_after = std::chrono::milliseconds(20);
  start(limits, [&](FakeStepModel& model) {
    model.before_step = [&](auto) {
      if (steps_ > 0) gate_.pass();
      return Status();
    };
  });
  const auto get = [&](const std::string& path) {
    return net::http_get("http://127.0.0.1:" + std::to_string(server_->port()) + path).value();
  };
  answer_of("tuned");
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_THAT(get("/metrics").body, HasSubstr("graft_adapter_generated_tokens{adapter=\"tuned\"} 6\n"));
  EXPECT_THAT(get("/metrics").body, HasSubstr("graft_adapter_resident_bytes{adapter=\"tuned\"} 100\n"));
  steps_ = 1;  // from now on it hangs
  std::thread stuck([&] { answer_of(""); });
  gate_.wait_for_arrival();
  while (get("/health").status != 503) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  gate_.open();
  stuck.join();
  while (get("/health").status != 200) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace
}  // namespace graft::serving::api
