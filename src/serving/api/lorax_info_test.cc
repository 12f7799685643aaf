#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "serving/api/adapter_catalog.h"
#include "serving/api/testing/api_test.h"

namespace graft::serving::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using LoraxInfo = testing::ApiTest;

TEST_F(LoraxInfo, HealthFollowsTheEngine) {
  for (const char* path : {"/", "/health", "/ping", "/startup"}) {
    const auto well = get(path);
    EXPECT_EQ(well.status, 200) << path;
    EXPECT_EQ(well.body, "") << path;
  }
  engine_->set_healthy(false);
  for (const char* path : {"/", "/health", "/ping", "/startup"}) {
    const auto ill = get(path);
    EXPECT_EQ(ill.status, 503) << path;
    EXPECT_EQ(ill.json, OrderedJson::parse(R"({"error":"unhealthy","error_type":"healthcheck"})")) << path;
  }
}

TEST_F(LoraxInfo, StartupWantsATokenFromTheModel) {
  EXPECT_EQ(get("/startup").status, 200);
  EXPECT_EQ(engine_->last().max_new_tokens, 1);
  engine_->fail_after(1);
  EXPECT_EQ(get("/startup").status, 503);
  engine_->set_overloaded(true);
  EXPECT_EQ(get("/startup").status, 200);
}

TEST_F(LoraxInfo, InfoHasAllOfLoraxsFields) {
  ApiConfig config;
  config.model_id = "org/model";
  config.model_sha = "abc";
  config.model_dtype = "bfloat16";
  start(config);
  const auto info = get("/info").json;
  const std::vector<std::string> names{"model_id",
                                       "model_sha",
                                       "model_dtype",
                                       "model_device_type",
                                       "model_pipeline_tag",
                                       "max_concurrent_requests",
                                       "max_best_of",
                                       "max_stop_sequences",
                                       "max_input_length",
                                       "max_total_tokens",
                                       "waiting_served_ratio",
                                       "max_batch_total_tokens",
                                       "max_waiting_tokens",
                                       "validation_workers",
                                       "eager_prefill",
                                       "version",
                                       "sha",
                                       "docker_label",
                                       "request_logger_url"};
  for (const auto& name : names) EXPECT_TRUE(info.contains(name)) << name;
  EXPECT_EQ(info.size(), names.size());
  EXPECT_EQ(info["model_id"], "org/model");
  EXPECT_EQ(info["model_sha"], "abc");
  EXPECT_EQ(info["model_dtype"], "bfloat16");
  EXPECT_EQ(info["max_total_tokens"], 512);
  EXPECT_EQ(info["max_input_length"], 511);
  EXPECT_EQ(info["version"], "1.2.3");
}

TEST_F(LoraxInfo, TokenizeReportsCharactersNotBytes) {
  const auto answer = post("/tokenize", {{"inputs", "hello \xE2\x82\xAC!"}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.json[0], OrderedJson::parse(R"({"id":259,"text":"hello","start":0,"stop":5})"));
  EXPECT_EQ(answer.json.back()["start"], 7);
  EXPECT_EQ(answer.json.back()["stop"], 8);
  for (size_t i = 2; i + 1 < answer.json.size(); ++i) {  // the three bytes of the euro sign
    EXPECT_EQ(answer.json[i]["start"], 6);
    EXPECT_EQ(answer.json[i]["stop"], 7);
  }
}

TEST_F(LoraxInfo, TokenizeChecksItsFields) {
  EXPECT_EQ(post("/tokenize", {{"inputs", ""}}).json, OrderedJson::array());
  EXPECT_EQ(post("/tokenize", {{"inputs", "a"}, {"add_special_tokens", false}}).status, 200);
  EXPECT_EQ(post("/tokenize", {{"inputs", "a"}, {"add_special_tokens", "no"}}).status, 422);
  EXPECT_EQ(post("/tokenize", OrderedJson::object()).json["error"], "Input validation error: `inputs` is missing");
  EXPECT_EQ(send("POST", "/tokenize", "{").status, 400);
}

TEST_F(LoraxInfo, MetricsCountRequests) {
  generate(OrderedJson::object());
  generate({{"adapter_id", "support"}});
  generate({{"top_k", 0}});
  generate({{"adapter_id", "missing"}});
  const auto answer = get("/metrics");
  EXPECT_THAT(std::string(answer.headers.get("Content-Type")), HasSubstr("text/plain"));
  for (const char* line : {"lorax_request_count 4\n",
                           "lorax_request_success 2\n",
                           "lorax_request_failure{err=\"validation\"} 1\n",
                           "lorax_request_failure{err=\"generation\"} 1\n",
                           "lorax_request_duration_count 2\n",
                           "lorax_request_validation_duration_count 2\n",
                           "lorax_request_queue_duration_count 2\n",
                           "lorax_request_inference_duration_count 2\n",
                           "lorax_request_mean_time_per_token_duration_count 2\n",
                           "lorax_request_generated_tokens_count 2\n",
                           "lorax_request_input_length_count 3\n",
                           "lorax_request_max_new_tokens_count 3\n",
                           "lorax_request_skipped_tokens_count 2\n",
                           "lorax_batch_current_size 0\n",
                           "lorax_queue_length 0\n",
                           "lorax_batch_inference_count{method=\"decode\"} ",
                           "lorax_batch_inference_duration_sum{method=\"prefill\"} ",
                           "lorax_batch_next_size_count ",
                           "lorax_batch_current_max_tokens 64\n",
                           "lorax_batch_concat 0\n",
                           "lorax_request_input_count_count 2\n",
                           "graft_adapter_requests{adapter=\"\"} 1\n",
                           "graft_adapter_requests{adapter=\"support\"} 1\n",
                           "graft_adapter_generated_tokens{adapter=\"support\"} ",
                           "graft_kv_blocks 64\n",
                           "graft_kv_blocks_free 60\n"}) {
    EXPECT_THAT(answer.body, HasSubstr(line));
  }
  EXPECT_THAT(answer.body, ::testing::Not(HasSubstr("adapter=\"missing\"")));  // junk names make no series
}

TEST_F(LoraxInfo, MetricsOfManyAdaptersStayBounded) {
  for (int i = 0; i < 300; ++i) generate({{"adapter_id", "a" + std::to_string(i)}, {"max_new_tokens", 1}});
  const std::string body = get("/metrics").body;
  EXPECT_THAT(body, HasSubstr("graft_adapter_requests{adapter=\"other\"} 44\n"));
}

TEST_F(LoraxInfo, UnknownRoutesAreJsonErrors) {
  const auto unknown = get("/nowhere");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.json["error_type"], "not_found");
  const auto method = get("/generate");
  EXPECT_EQ(method.status, 405);
  EXPECT_EQ(method.headers.get("Allow"), "POST, OPTIONS");
  const auto openai = get("/v1/nowhere");
  EXPECT_EQ(openai.status, 404);
  EXPECT_EQ(openai.json["error"]["type"], "invalid_request_error");
}

TEST_F(LoraxInfo, ModelsListTheBaseItsAliasesAndAdapters) {
  const auto directory = std::filesystem::path(::testing::TempDir()) / "graft-api-adapters";
  std::filesystem::create_directories(directory / "spam");
  std::filesystem::create_directories(directory / "not-an-adapter");
  std::ofstream(directory / "spam" / "adapter_config.json") << "{}";
  ApiConfig config;
  config.model_id = "org/base";
  config.model_aliases = {"base"};
  config.adapter_directory = directory.string();
  start(config);
  generate({{"adapter_id", "elsewhere"}});

  const auto list = get("/v1/models").json;
  EXPECT_EQ(list["object"], "list");
  std::vector<std::string> ids;
  for (const auto& model : list["data"]) {
    ids.push_back(model["id"]);
    EXPECT_EQ(model["object"], "model");
    EXPECT_TRUE(model["created"].is_number_integer());
    EXPECT_EQ(model["owned_by"], "graft");
  }
  EXPECT_THAT(ids, ElementsAre("org/base", "base", "elsewhere", "spam"));
  EXPECT_EQ(list["data"][3]["parent"], "org/base");

  EXPECT_EQ(get("/v1/models/org/base").json["id"], "org/base");
  EXPECT_EQ(get("/v1/models/spam").json["parent"], "org/base");
  const auto missing = get("/v1/models/nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.json["error"]["code"], "model_not_found");

  generate({{"adapter_id", "spam"}});
  EXPECT_EQ(engine_->last().adapter.id, (directory / "spam").string());
  std::filesystem::remove_all(directory);
}

TEST(AdapterCatalog, NamesDoNotLeadOutOfTheDirectory) {
  const auto directory = std::filesystem::path(::testing::TempDir()) / "graft-catalog";
  std::filesystem::create_directories(directory / "inside");
  std::filesystem::create_directories(directory / "outside");
  std::ofstream(directory / "outside" / "adapter_config.json") << "{}";
  const AdapterCatalog catalog({"base"}, (directory / "inside").string());
  const auto ref = catalog.resolve("../outside", "", "adapter_id");
  EXPECT_EQ(ref.value().id, "../outside");  // a path of its own, not one within the directory
  std::filesystem::remove_all(directory);
}

TEST(AdapterCatalog, RemembersABoundedNumber) {
  AdapterCatalog catalog({"base"}, "");
  for (int i = 0; i < 3000; ++i) catalog.note_served(std::to_string(i));
  EXPECT_EQ(catalog.adapters().size(), 1024U);
}

}  // namespace
}  // namespace graft::serving::api
