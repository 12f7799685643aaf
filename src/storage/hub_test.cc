// The hub's client against a small server of our own, with Python's huggingface_hub as the oracle of the cache.
#include "storage/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "base/digest.h"
#include "base/files.h"
#include "base/json.h"
#include "base/test_directory.h"
#include "base/test_process.h"
#include "base/test_python.h"
#include "net/http_client.h"
#include "storage/model_origin.h"

namespace graft::storage {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using namespace std::chrono_literals;

std::string random_bytes(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

class Hub : public testing::Test {
 protected:
  static constexpr int64_t kChunk = 64 << 10;

  Hub() : server_({GRAFT_SOURCE_DIR "/tests/support/hub_server.py", (dir_ / "repos").string()}) {
    addresses_ = json::parse(server_.line());
    settings_.endpoint = addresses_["url"];
    settings_.cache = dir_ / "cache";
    settings_.chunk_bytes = kChunk;
    settings_.retry_delay = 1ms;
    settings_.longest_retry_delay = 5ms;
  }

  void file(const std::string& name, const std::string& bytes) {
    fs::create_directories((dir_ / "repos" / name).parent_path());
    std::ofstream(dir_ / "repos" / name, std::ios::binary) << bytes;
  }
  void tiny(const std::string& repo = "org/tiny", size_t weights = 1000) {
    file(repo + "/main/config.json", "{}");
    file(repo + "/main/tokenizer.json", "{\"a\": 1}");
    file(repo + "/main/README.md", "not needed");
    file(repo + "/main/flax_model.msgpack", "not needed");
    file(repo + "/main/model.safetensors", random_bytes(weights, 5));
  }

  Result<fs::path> fetch(const std::string& repo, const std::string& revision = "main", const std::string& file = "") {
    return fetch_hub_model({repo, revision, file}, settings_);
  }
  std::string error(const std::string& repo, const std::string& revision = "main", const std::string& file = "") {
    const auto path = fetch(repo, revision, file);
    return path.ok() ? "none" : path.error().message;
  }

  void fault(const json& fault) {
    ASSERT_EQ(net::http_post_json(settings_.endpoint + "/_fault", fault.dump()).value().status, 200);
  }
  json requests() { return json::parse(net::http_get(settings_.endpoint + "/_log").value().body); }

  std::string python(const std::string& script) {
    return run_python("import os, sys, time\nos.environ.update(HF_ENDPOINT='" + settings_.endpoint +
                      "', HF_HUB_CACHE='" + settings_.cache.string() +
                      "', HF_HUB_OFFLINE='0', HF_HUB_DISABLE_PROGRESS_BARS='1', HF_HUB_DISABLE_TELEMETRY='1', "
                      "HF_HOME='/nonexistent')\nfrom huggingface_hub import hf_hub_download, snapshot_download\n" +
                      script);
  }
  fs::path blob(const std::string& bytes) const {
    return settings_.cache / "models--org--tiny/blobs" / sha256_hex(bytes);
  }

  TestDirectory dir_;
  PythonServer server_;
  json addresses_;
  HubSettings settings_;
};

TEST_F(Hub, FetchesWhatIsReadAndPythonFindsAllOfIt) {
  tiny("org/tiny", 3 * kChunk + 17);
  file("org/tiny/main/additional_chat_templates/tool.jinja", "x");
  const auto path = fetch("org/tiny");
  ASSERT_TRUE(path.ok()) << path.error().message;
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(*path)) {
    if (entry.is_directory()) continue;
    names.push_back(entry.path().lexically_relative(*path));
    EXPECT_EQ(read_file(entry.path()).value(), read_file(dir_ / "repos/org/tiny/main" / names.back()).value());
    EXPECT_TRUE(entry.is_symlink() && fs::read_symlink(entry.path()).is_relative());
  }
  EXPECT_THAT(names, UnorderedElementsAre("config.json", "tokenizer.json", "model.safetensors",
                                          "additional_chat_templates/tool.jinja"));
  EXPECT_EQ(python(R"(
paths = [hf_hub_download("org/tiny", name, local_files_only=True) for name in ("config.json", "tokenizer.json",
         "model.safetensors", "additional_chat_templates/tool.jinja")]
print(snapshot_download("org/tiny", local_files_only=True))
assert [os.path.dirname(p) for p in paths[:3]] == [snapshot_download("org/tiny", local_files_only=True)] * 3
)"),
            path->string());
}

TEST_F(Hub, WhatPythonFetchedIsReadWithoutARequest) {
  tiny();
  const std::string theirs = python("print(snapshot_download('org/tiny', token='hf_secret'))");
  requests();
  settings_.offline = true;
  EXPECT_EQ(fetch("org/tiny").value(), theirs);
  settings_.offline = false;
  EXPECT_EQ(fetch("org/tiny", fs::path(theirs).filename().string()).value(), theirs);
  EXPECT_EQ(requests().size(), 0U);
  EXPECT_EQ(fetch("org/tiny").value(), theirs);
  EXPECT_EQ(requests().size(), 1U);  // what the branch is now
}

TEST_F(Hub, LargeFilesComeInRangesAndTheTokenStaysWithTheHub) {
  tiny("org/tiny", 10 * kChunk);
  settings_.token = "hf_secret";
  std::vector<FetchProgress> progress;
  const auto path =
      fetch_hub_model({"org/tiny", "main", ""}, settings_, [&](const FetchProgress& now) { progress.push_back(now); });
  ASSERT_TRUE(path.ok()) << path.error().message;
  int ranges = 0;
  for (const json& request : requests()) {
    if (request["cdn"] == true) ++ranges;
    EXPECT_EQ(request["authorization"].is_null(), request["cdn"] == true) << request;
  }
  EXPECT_EQ(ranges, 10);
  EXPECT_EQ(progress.back().done, progress.back().total);
  EXPECT_EQ(progress.back().total, 10 * kChunk + 10);
}

TEST_F(Hub, ACutConnectionGoesOnWhereItStopped) {
  tiny("org/tiny", 2 * kChunk);
  fault({{"path", "^/cdn/"}, {"times", 7}, {"cut_after", 10000}});
  ASSERT_TRUE(fetch("org/tiny").ok());
  std::set<std::string> ranges;
  for (const json& request : requests()) {
    if (request["cdn"] != true) continue;
    EXPECT_TRUE(ranges.insert(request["range"].get<std::string>()).second) << request;
  }
  EXPECT_EQ(ranges.size(), 9U);
}

TEST_F(Hub, AnInterruptedFetchIsTakenUpByALaterOneAndByPython) {
  for (const bool by_python : {false, true}) {
    fs::remove_all(settings_.cache);
    tiny("org/tiny", 4 * kChunk);
    settings_.connections = 1;
    fault({{"path", "^/cdn/"}, {"times", 1}});  // the first chunk comes
    fault({{"path", "^/cdn/"}, {"times", 1000}, {"cut_after", 0}});
    EXPECT_THAT(error("org/tiny"), AllOf(HasSubstr("gave up after 5 attempts"), HasSubstr("try again to go on")));
    const std::string bytes = random_bytes(4 * kChunk, 5);
    EXPECT_EQ(fs::file_size(blob(bytes).string() + ".incomplete"), static_cast<size_t>(kChunk));
    fault({{"clear", true}});
    requests();
    if (by_python) {
      EXPECT_THAT(python("print(hf_hub_download('org/tiny', 'model.safetensors'))"), HasSubstr("model.safetensors"));
    } else {
      EXPECT_TRUE(fetch("org/tiny").ok());
    }
    EXPECT_EQ(read_file(blob(bytes)).value(), bytes);
    for (const json& request : requests()) {
      if (request["cdn"] != true) continue;
      EXPECT_THAT(request["range"].get<std::string>(), Not(HasSubstr("bytes=0-")));
    }
  }
}

TEST_F(Hub, BytesWithAnotherDigestAreThrownAway) {
  tiny();
  fault({{"path", "^/cdn/"}, {"times", 1}, {"flip", true}});
  EXPECT_THAT(error("org/tiny"), HasSubstr("model.safetensors: what came is not what the hub announces"));
  const std::string bytes = random_bytes(1000, 5);
  EXPECT_FALSE(fs::exists(blob(bytes)) || fs::exists(blob(bytes).string() + ".incomplete"));
  std::ofstream(blob(bytes).string() + ".incomplete") << "a wrong beginning";
  ASSERT_TRUE(fetch("org/tiny").ok());
  EXPECT_EQ(read_file(blob(bytes)).value(), bytes);
  std::ofstream(dir_ / "long") << std::string(5000, 'x');
  fs::remove(blob(bytes));
  fs::rename(dir_ / "long", blob(bytes).string() + ".incomplete");  // longer than the file
  ASSERT_TRUE(fetch("org/tiny").ok());
}

TEST_F(Hub, RefusalsCarryTheHubsWordsAndTheRemedy) {
  tiny();
  tiny("org/tiny-private");
  tiny("org/tiny-gated");
  EXPECT_THAT(error("org/none"),
              AllOf(HasSubstr("no model 'org/none'"), HasSubstr("(Repository not found)"), HasSubstr("HF_TOKEN")));
  EXPECT_THAT(error("org/tiny-private"), HasSubstr("if it is private, set HF_TOKEN"));
  EXPECT_THAT(error("org/tiny-gated"),
              AllOf(HasSubstr("is gated (Access to model org/tiny-gated is restricted.)"),
                    HasSubstr("accept its conditions on " + settings_.endpoint + "/org/tiny-gated")));
  EXPECT_THAT(error("org/tiny", "v9"), AllOf(HasSubstr("no revision 'v9'"), HasSubstr("Invalid rev id: v9")));
  settings_.token = "hf_secret";
  EXPECT_EQ(error("org/tiny-private"), "none");
  EXPECT_EQ(error("org/tiny-gated"), "none");
  settings_.token = "wrong";
  EXPECT_THAT(error("org/tiny"), HasSubstr("refuses the token (Invalid credentials in Authorization header)"));
  settings_.token = "";
  fault({{"path", "^/api/"}, {"times", 1}, {"status", 403}, {"message", "no way"}});
  EXPECT_THAT(error("org/tiny"), HasSubstr("access to 'org/tiny' is refused (no way)"));
  fault({{"path", "resolve.*config"}, {"times", 1}, {"status", 404}, {"headers", {{"X-Error-Code", "EntryNotFound"}}}});
  EXPECT_THAT(error("org/tiny"), HasSubstr("no file 'config.json'"));
}

TEST_F(Hub, BusyHubsAreAskedAgain) {
  tiny();
  fault({{"path", "^/api/"}, {"times", 2}, {"status", 429}, {"headers", {{"Retry-After", "1"}}}});
  fault({{"path", "resolve"}, {"times", 2}, {"status", 503}});
  fault({{"path", "^/cdn/"}, {"times", 3}, {"status", 500}});
  EXPECT_EQ(error("org/tiny"), "none");
  fs::remove_all(settings_.cache);
  fault({{"path", "^/api/"}, {"times", 5}, {"status", 429}, {"message", "slow down"}});
  EXPECT_THAT(error("org/tiny"), AllOf(HasSubstr("429 Too Many Requests (slow down)"), HasSubstr("wait a while")));
  fault({{"path", "^/cdn/"}, {"times", 50}, {"status", 500}});
  EXPECT_THAT(error("org/tiny"), AllOf(HasSubstr("gave up after 5 attempts"), HasSubstr("500 Internal Server Error")));
}

TEST_F(Hub, RedirectsAreBounded) {
  tiny();
  fault({{"path", "^/api/models/org/tiny"}, {"times", 100}, {"location", "/api/models/org/tiny/revision/main"}});
  EXPECT_THAT(error("org/tiny"), HasSubstr("redirects in a circle"));
  fault({{"clear", true}});
  fault({{"path", "^/api/models/org/old"}, {"times", 1}, {"location", "/api/models/org/tiny/revision/main"}});
  fault({{"path", "^/org/old/"}, {"times", 6}, {"location", "/org/tiny/resolve/main/config.json"}});
  EXPECT_EQ(error("org/old"), "none");  // a repository that was renamed; each file is redirected to config.json here
}

TEST_F(Hub, SizesThatLieAreFoundOut) {
  tiny();
  fault({{"path", "resolve.*safetensors"}, {"method", "HEAD"}, {"times", 1}, {"size", 1001}});
  EXPECT_THAT(error("org/tiny"), HasSubstr("ends before the size that it announced"));
  fault({{"path", "resolve.*safetensors"}, {"method", "HEAD"}, {"times", 1}, {"size", 999}});
  EXPECT_THAT(error("org/tiny"), HasSubstr("sends other bytes than it announced"));
  fault({{"path", "^/cdn/"}, {"times", 1}, {"extra", 5}});
  fs::remove_all(settings_.cache);
  EXPECT_THAT(error("org/tiny"), HasSubstr("sends other bytes than it announced"));
  tiny("org/tiny", 3 * kChunk);
  fault({{"path", "resolve.*safetensors"}, {"method", "HEAD"}, {"times", 1}, {"size", 3 * kChunk + 1}});
  // Whichever connection is answered first: a chunk whose total differs, or the one beyond the end.
  EXPECT_THAT(error("org/tiny"),
              AnyOf(HasSubstr("sends other bytes than it announced"), HasSubstr("ends before the size")));
}

TEST_F(Hub, AFullDiskIsSaidBeforeAndWhileWriting) {
  tiny();
  fault({{"path", "resolve.*safetensors"}, {"method", "HEAD"}, {"times", 1}, {"size", int64_t{1} << 60}});
  EXPECT_THAT(error("org/tiny"), AllOf(HasSubstr("model.safetensors needs"), HasSubstr("free; free some space")));
  fs::remove(blob(random_bytes(1000, 5)).string() + ".incomplete");
  fs::create_symlink("/dev/full", blob(random_bytes(1000, 5)).string() + ".incomplete");
  EXPECT_THAT(error("org/tiny"), AllOf(HasSubstr("No space left on device"), HasSubstr("free some space")));
}

TEST_F(Hub, ServersWithoutRangesAreReadInOneGo) {
  tiny("org/tiny", 5 * kChunk);
  fault({{"path", "^/cdn/"}, {"times", 1}, {"no_ranges", true}, {"cut_after", 100000}});
  fault({{"path", "^/cdn/"}, {"times", 100}, {"no_ranges", true}});
  EXPECT_EQ(error("org/tiny"), "none");
  const std::string bytes = random_bytes(5 * kChunk, 5);
  EXPECT_EQ(read_file(blob(bytes)).value(), bytes);
}

TEST_F(Hub, ShardsComeThroughTheirIndexAndBinWhereThereIsNothingElse) {
  for (const std::string stem : {"model.safetensors", "pytorch_model.bin"}) {
    const std::string repo = stem[0] == 'm' ? "org/shards" : "org/bins";
    file(repo + "/main/config.json", "{}");
    file(repo + "/main/tokenizer.model", "x");
    file(repo + "/main/" + stem + ".index.json", R"({"weight_map": {"a": "one.x", "b": "two.x", "c": "one.x"}})");
    file(repo + "/main/one.x", "1");
    file(repo + "/main/two.x", "2");
    file(repo + "/main/three.x", "3");
    const auto path = fetch(repo);
    ASSERT_TRUE(path.ok()) << path.error().message;
    EXPECT_TRUE(fs::exists(*path / "one.x") && fs::exists(*path / "two.x") && !fs::exists(*path / "three.x"));
    settings_.offline = true;
    EXPECT_EQ(fetch(repo).value(), *path);
    fs::remove(*path / "two.x");
    EXPECT_THAT(error(repo), AllOf(HasSubstr("two.x is missing"), HasSubstr("unset HF_HUB_OFFLINE")));
    settings_.offline = false;
  }
}

TEST_F(Hub, OneOfSeveralGgufFilesIsChosen) {
  file("org/gguf/main/a-Q4.gguf", "4");
  EXPECT_EQ(fetch("org/gguf").value().filename(), "a-Q4.gguf");
  file("org/gguf/main/a-Q8.gguf", "8");
  file("org/gguf/main/big-00001-of-00002.gguf", "b1");
  file("org/gguf/main/big-00002-of-00002.gguf", "b2");
  EXPECT_THAT(error("org/gguf"), HasSubstr("choose one with --file: a-Q4.gguf, a-Q8.gguf, big-00001-of-00002.gguf"));
  EXPECT_EQ(read_file(fetch("org/gguf", "main", "a-Q8.gguf").value()).value(), "8");
  const fs::path split = fetch("org/gguf", "main", "big-00001-of-00002.gguf").value();
  EXPECT_EQ(read_file(split.parent_path() / "big-00002-of-00002.gguf").value(), "b2");
  EXPECT_THAT(error("org/gguf", "main", "a-Q5.gguf"), HasSubstr("did you mean"));
}

TEST_F(Hub, WithoutAConnectionTheCacheServes) {
  tiny();
  const auto path = fetch("org/tiny");
  settings_.endpoint = "http://127.0.0.1:1";
  EXPECT_EQ(fetch("org/tiny").value(), *path);
  EXPECT_EQ(fetch("org/other").error().kind, ErrorKind::kIo);
  settings_.offline = true;
  EXPECT_THAT(error("org/other"), HasSubstr("unset HF_HUB_OFFLINE"));
}

TEST_F(Hub, TwoFetchersShareOneDownload) {
  tiny("org/tiny", 8 * kChunk);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back([this] { EXPECT_EQ(error("org/tiny"), "none"); });
  for (std::thread& thread : threads) thread.join();
  int ranges = 0;
  for (const json& request : requests()) ranges += request["cdn"] == true ? 1 : 0;
  EXPECT_EQ(ranges, 8);
}

TEST_F(Hub, PythonsLockIsRespected) {
  tiny();
  const std::string digest = sha256_hex(random_bytes(1000, 5));
  std::thread holder([&] {
    EXPECT_EQ(python("from filelock import FileLock\nfolder = os.environ['HF_HUB_CACHE'] + "
                     "'/.locks/models--org--tiny'\nos.makedirs(folder)\nlock = FileLock(folder + '/" +
                     digest + ".lock')\nlock.acquire()\nopen('" + (dir_ / "held").string() +
                     "', 'w')\ntime.sleep(0.3)\nprint(os.path.exists(folder + '/../../models--org--tiny/blobs/" +
                     digest + "'))"),
              "False");
  });
  while (!fs::exists(dir_ / "held")) std::this_thread::sleep_for(5ms);
  EXPECT_EQ(error("org/tiny"), "none");
  holder.join();
}

TEST_F(Hub, SourcesAreBroughtFromWhereTheEnvironmentSays) {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE",
                           "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN_PATH"}) {
    unsetenv(name);
  }
  setenv("HF_ENDPOINT", (settings_.endpoint + "/").c_str(), 1);
  setenv("HF_HOME", (dir_ / "hf").c_str(), 1);
  tiny("org/tiny-private");
  EXPECT_THAT(bring_model("org/tiny-private", "", dir_ / "home").error().message,
              HasSubstr("nor is there a file or directory 'org/tiny-private' here"));
  fs::create_directories(dir_ / "hf");
  std::ofstream(dir_ / "hf/token") << "hf_secret\n";
  const auto model = bring_model("org/tiny-private", "", dir_ / "home");
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->name, "tiny-private");
  EXPECT_THAT(model->path.string(),
              testing::StartsWith((dir_ / "hf/hub/models--org--tiny-private/snapshots").string()));
  setenv("HF_HUB_OFFLINE", "1", 1);
  EXPECT_EQ(bring_model("hf://org/tiny-private", "", dir_ / "home")->path, model->path);
  EXPECT_EQ(bring_model((dir_ / "repos/org/tiny-private/main").string(), "", dir_ / "home")->name, std::nullopt);
  EXPECT_THAT(bring_model("ftp://x/y", "", dir_ / "home").error().message, HasSubstr("known are"));
  setenv("HF_ENDPOINT", "huggingface.co", 1);
  EXPECT_THAT(bring_model("org/x", "", dir_ / "home").error().message, HasSubstr("must begin with https://"));
  unsetenv("HF_HUB_OFFLINE");
  unsetenv("HF_ENDPOINT");
  unsetenv("HF_HOME");
}

TEST(HubNames, AreRepositoriesWithARevisionOrNothing) {
  const auto parse = [](std::string_view text) { return parse_hub_model(text).value(); };
  EXPECT_EQ(parse("org/name")->repo, "org/name");
  EXPECT_EQ(parse("org/name")->revision, "main");
  EXPECT_EQ(parse("hf://org/na.me@refs/pr/1")->revision, "refs/pr/1");
  EXPECT_EQ(parse("org/name")->name(), "name");
  for (const char* path : {"model.gguf", "./org/name", "/org/name", "a/b/c", "~/name", "../name"})
    EXPECT_FALSE(parse(path)) << path;
  for (const char* bad :
       {"hf://name", "org/na me", "org/name@", "org/name@../x", "org/-x", "or--g/x", "org/", "org/n\n"}) {
    EXPECT_FALSE(parse_hub_model(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace graft::storage
