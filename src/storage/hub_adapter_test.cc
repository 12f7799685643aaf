// Adapters from a hub, against the small hub server; and from an object store in a folder.
#include "storage/hub_adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_process.h"
#include "base/test_python.h"
#include "net/http_client.h"
#include "storage/object_adapter.h"

namespace graft::storage {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class HubAdapter : public testing::Test {
 protected:
  HubAdapter() : server_({GRAFT_SOURCE_DIR "/tests/support/hub_server.py", (dir_ / "repos").string()}) {
    settings_.endpoint = json::parse(server_.line())["url"];
    settings_.cache = dir_ / "cache";
    settings_.retry_delay = std::chrono::milliseconds(1);
    settings_.longest_retry_delay = std::chrono::milliseconds(5);
  }

  void file(const std::string& name, const std::string& bytes) const {
    fs::create_directories((dir_ / "repos" / name).parent_path());
    std::ofstream(dir_ / "repos" / name, std::ios::binary) << bytes;
  }
  void adapter(const std::string& repo, const std::string& weights = "adapter_model.safetensors") const {
    file(repo + "/main/adapter_config.json", "{}");
    file(repo + "/main/" + weights, "weights");
    file(repo + "/main/README.md", "not needed");
    file(repo + "/main/optimizer.bin", "not needed");
    file(repo + "/main/checkpoint-1/adapter_model.safetensors", "not needed");
  }
  Result<fs::path> fetch(const std::string& repo, const std::string& revision = "main", int64_t max_bytes = 1 << 20) {
    return fetch_hub_adapter({repo, revision, ""}, settings_, max_bytes);
  }
  static std::vector<std::string> files_of(const fs::path& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      if (!entry.is_directory()) names.push_back(entry.path().lexically_relative(directory));
    }
    return names;
  }
  json requests() const { return json::parse(net::http_get(settings_.endpoint + "/_log").value().body); }

  TestDirectory dir_;
  PythonServer server_;
  HubSettings settings_;
};

TEST_F(HubAdapter, OnlyItsTwoFilesAreFetchedAndPythonFindsThem) {
  adapter("org/lora");
  const auto path = fetch("org/lora");
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_THAT(files_of(*path), UnorderedElementsAre("adapter_config.json", "adapter_model.safetensors"));
  EXPECT_EQ(read_file(*path / "adapter_model.safetensors").value(), "weights");
  EXPECT_EQ(run_python("import os, sys\nos.environ.update(HF_HUB_CACHE=sys.argv[1], HF_HUB_OFFLINE='1')\n"
                       "from huggingface_hub import hf_hub_download\n"
                       "print(os.path.dirname(hf_hub_download('org/lora', 'adapter_config.json')))",
                       {settings_.cache}),
            path->string());
  adapter("org/old", "adapter_model.bin");
  EXPECT_THAT(files_of(fetch("org/old").value()), UnorderedElementsAre("adapter_config.json", "adapter_model.bin"));
}

TEST_F(HubAdapter, ACertificateComesAlong) {
  adapter("org/certified");
  file("org/certified/main/certificate.json", "{}");
  EXPECT_THAT(files_of(fetch("org/certified").value()),
              UnorderedElementsAre("adapter_config.json", "adapter_model.safetensors", "certificate.json"));
}

TEST_F(HubAdapter, TheHubIsAskedEachTimeAndANewCommitIsAnotherDirectory) {
  adapter("org/lora");
  const fs::path first = fetch("org/lora").value();
  requests();
  EXPECT_EQ(fetch("org/lora").value(), first);
  EXPECT_EQ(requests().size(), 1U);
  file("org/lora/main/adapter_model.safetensors", "better weights");
  const fs::path second = fetch("org/lora").value();
  EXPECT_NE(second, first);
  EXPECT_EQ(read_file(second / "adapter_model.safetensors").value(), "better weights");
  EXPECT_EQ(fetch("org/lora", first.filename().string()).ok(), false);  // this hub forgets what was before
}

// LoRAX's defect 2: after one load anybody may use a private adapter.
TEST_F(HubAdapter, APrivateOneIsForTokensThatMayReadItOnly) {
  adapter("org/lora-private");
  settings_.token = "hf_secret";
  ASSERT_TRUE(fetch("org/lora-private").ok());
  settings_.token = "";
  auto refused = fetch("org/lora-private");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind, ErrorKind::kNotFound);
  settings_.token = "hf_other";
  refused = fetch("org/lora-private");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("Invalid credentials"));
}

TEST_F(HubAdapter, WhatIsNotThereOrNoAdapterIsNotFound) {
  adapter("org/lora");
  file("org/model/main/config.json", "{}");
  file("org/empty/main/adapter_config.json", "{}");
  for (const auto& [repo, why] : std::vector<std::pair<std::string, std::string>>{
           {"org/nowhere", "Repository not found"},
           {"org/model", "no adapter_config.json"},
           {"org/empty", "neither adapter_model.safetensors nor adapter_model.bin"}}) {
    const auto path = fetch(repo);
    ASSERT_FALSE(path.ok()) << repo;
    EXPECT_EQ(path.error().kind, ErrorKind::kNotFound);
    EXPECT_THAT(path.error().message, HasSubstr(why));
  }
  EXPECT_THAT(fetch("org/lora", "v9").error().message, HasSubstr("no revision 'v9'"));
  EXPECT_THAT(fetch("org/lora", "main", 3).error().message, HasSubstr("has 7 bytes, more than 3"));
}

TEST_F(HubAdapter, OfflineTheCacheIsTakenWithoutAsking) {
  adapter("org/lora");
  const fs::path path = fetch("org/lora").value();
  requests();
  settings_.offline = true;
  EXPECT_EQ(fetch("org/lora").value(), path);
  EXPECT_THAT(fetch("org/other").error().message, HasSubstr("unset HF_HUB_OFFLINE"));
  EXPECT_EQ(requests().size(), 0U);
}

TEST_F(HubAdapter, AHubThatDoesNotAnswerIsAnErrorThatMayPass) {
  adapter("org/lora");
  settings_.attempts = 2;
  settings_.endpoint = "http://127.0.0.1:1";
  EXPECT_EQ(fetch("org/lora").error().kind, ErrorKind::kIo);
}

TEST(ObjectAdapter, ChangedObjectsAreAnotherDirectory) {
  TestDirectory dir;
  const auto write = [&](const std::string& name, const std::string& bytes) {
    fs::create_directories((dir / "store" / name).parent_path());
    std::ofstream(dir / "store" / name, std::ios::binary) << bytes;
  };
  write("lora/adapter_config.json", "{}");
  write("lora/adapter_model.safetensors", "weights");
  write("lora/notes.txt", "not needed");
  const std::string uri = "file://" + (dir / "store/lora").string();
  const auto fetch = [&] { return fetch_object_adapter(uri, dir / "cache", 100).value(); };
  const fs::path first = fetch();
  EXPECT_EQ(read_file(first / "adapter_model.safetensors").value(), "weights");
  EXPECT_FALSE(fs::exists(first / "notes.txt"));
  EXPECT_EQ(fetch(), first);
  write("lora/adapter_model.safetensors", "better weights");
  const fs::path second = fetch();
  EXPECT_NE(second, first);
  EXPECT_EQ(read_file(second / "adapter_model.safetensors").value(), "better weights");
  EXPECT_THAT(fetch_object_adapter(uri, dir / "cache", 3).error().message, HasSubstr("more than 3"));
  EXPECT_EQ(fetch_object_adapter("file://" + (dir / "nowhere").string(), dir / "cache", 3).error().kind,
            ErrorKind::kNotFound);
}

}  // namespace
}  // namespace graft::storage
