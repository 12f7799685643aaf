// Object stores against moto's S3 server, with boto3 as the other client.
#include "storage/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_process.h"
#include "base/test_python.h"
#include "storage/object_adapter.h"
#include "storage/object_model.h"

namespace graft::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_of(const ObjectStore& store, const std::string& folder = "") {
  std::vector<std::string> names;
  const auto objects = store.list(folder);
  EXPECT_TRUE(objects.ok()) << objects.error().message;
  if (objects.ok()) {
    for (const ObjectInfo& object : *objects) names.push_back(object.name);
  }
  return names;
}

// What every back end promises.
void check_store(ObjectStore& store) {
  EXPECT_THAT(names_of(store), ElementsAre());
  const std::string big(20 << 20, 'x');  // more than one part of an upload
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, std::string>>{
           {"a/one", "1"}, {"a/b/two é", "22"}, {"big", big}, {"empty", ""}, {"a/one", "new"}}) {
    const Status written = store.write_all(name, bytes);
    ASSERT_TRUE(written.ok()) << written.error().message;
    EXPECT_EQ(store.read_all(name, 1 << 30).value(), bytes);
  }
  EXPECT_THAT(names_of(store), ElementsAre("a/b/two é", "a/one", "big", "empty"));
  EXPECT_THAT(names_of(store, "a"), ElementsAre("a/b/two é", "a/one"));
  EXPECT_THAT(names_of(store, "none"), ElementsAre());
  EXPECT_EQ(store.list("").value()[2].size, 20 << 20);
  EXPECT_THAT(store.read_all("big", 100).error().message, HasSubstr("larger than 100 bytes"));
  EXPECT_EQ(store.read_all("none", 100).error().kind, ErrorKind::kNotFound);
  for (const char* bad : {"", "../x", "/x", "a//b"}) EXPECT_FALSE(store.write_all(bad, "x").ok()) << bad;
  EXPECT_TRUE(store.remove("big").ok());
  EXPECT_TRUE(store.remove("big").ok());
  EXPECT_THAT(names_of(store), ElementsAre("a/b/two é", "a/one", "empty"));
}

class SlowS3 : public testing::Test {
 protected:
  SlowS3()
      : server_({"-c", R"(
import logging, sys, threading
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.port}", flush=True)
sys.stdin.read()
)"}) {
    setenv("AWS_ENDPOINT_URL", server_.line().c_str(), 1);
    setenv("AWS_ACCESS_KEY_ID", "key", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    setenv("AWS_DEFAULT_REGION", "us-east-1", 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  }

  std::string python(const std::string& script) {
    return run_python("import boto3, sys\ns3 = boto3.client('s3')\n" + script, {dir_.path().string()});
  }

  TestDirectory dir_;
  PythonServer server_;
};

TEST_F(SlowS3, KeepsThePromisesAndAgreesWithBoto) {
  EXPECT_EQ(python("s3.create_bucket(Bucket='bucket')"), "");
  const auto store = ObjectStore::open("s3://bucket/pre/fix");
  ASSERT_TRUE(store.ok()) << store.error().message;
  check_store(**store);
  EXPECT_EQ(python(R"(
print([o["Key"] for o in s3.list_objects_v2(Bucket="bucket")["Contents"] if not o["Key"].endswith("/")],
      s3.get_object(Bucket="bucket", Key="pre/fix/a/one")["Body"].read())
s3.put_object(Bucket="bucket", Key="pre/fix/theirs", Body=b"boto")
)"),
            "['pre/fix/a/b/two é', 'pre/fix/a/one', 'pre/fix/empty'] b'new'");
  EXPECT_EQ((*store)->read_all("theirs", 100).value(), "boto");
  const auto nowhere = ObjectStore::open("s3://no-such-bucket/x");
  ASSERT_TRUE(nowhere.ok());
  EXPECT_FALSE((*nowhere)->write_all("a", "b").ok());
}

TEST_F(SlowS3, ModelsAreCopiedOnceIntoTheCache) {
  EXPECT_EQ(python(R"(
s3.create_bucket(Bucket="models")
for name in ("config.json", "tokenizer.json", "model.safetensors", "notes.txt"): s3.put_object(Bucket="models", Key="tiny/" + name, Body=name.encode())
s3.put_object(Bucket="models", Key="gguf/a.gguf", Body=b"a"); s3.put_object(Bucket="models", Key="gguf/b.gguf", Body=b"b")
)"),
            "");
  int pieces = 0;
  const auto count = [&](const FetchProgress& now) {
    ++pieces;
    EXPECT_LE(now.done, now.total);
  };
  const auto path = fetch_object_model("s3://models/tiny/", "", dir_ / "cache", count);
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(path->filename(), "tiny");
  EXPECT_EQ(pieces, 3);
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    EXPECT_EQ(read_file(*path / name).value(), name);
  }
  EXPECT_FALSE(fs::exists(*path / "notes.txt"));
  EXPECT_EQ(fetch_object_model("s3://models/tiny", "", dir_ / "cache", count).value(), *path);
  EXPECT_EQ(pieces, 3);  // nothing was fetched
  EXPECT_EQ(read_file(fetch_object_model("s3://models/gguf/b.gguf", "", dir_ / "cache").value()).value(), "b");
  EXPECT_EQ(read_file(fetch_object_model("s3://models/gguf", "a.gguf", dir_ / "cache").value()).value(), "a");
  EXPECT_THAT(fetch_object_model("s3://models/gguf", "", dir_ / "cache").error().message,
              HasSubstr("--file: a.gguf, b.gguf"));
  EXPECT_THAT(fetch_object_model("s3://models/none", "", dir_ / "cache").error().message, HasSubstr("nothing there"));
}

TEST_F(SlowS3, AdaptersAreCopiedAndThoseThatChangedAreAnotherDirectory) {
  EXPECT_EQ(python(R"(
s3.create_bucket(Bucket="adapters")
for name in ("adapter_config.json", "adapter_model.safetensors", "notes.txt"): s3.put_object(Bucket="adapters", Key="team/lora/" + name, Body=name.encode())
)"),
            "");
  const auto first = fetch_object_adapter("s3://adapters/team/lora", dir_ / "cache", 1000);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(read_file(*first / "adapter_model.safetensors").value(), "adapter_model.safetensors");
  EXPECT_FALSE(fs::exists(*first / "notes.txt"));
  EXPECT_EQ(fetch_object_adapter("s3://adapters/team/lora", dir_ / "cache", 1000).value(), *first);
  python("s3.put_object(Bucket='adapters', Key='team/lora/adapter_model.safetensors', Body=b'better')");
  const auto second = fetch_object_adapter("s3://adapters/team/lora", dir_ / "cache", 1000);
  EXPECT_NE(*second, *first);
  EXPECT_EQ(read_file(*second / "adapter_model.safetensors").value(), "better");
  EXPECT_EQ(fetch_object_adapter("s3://adapters/none", dir_ / "cache", 1000).error().kind, ErrorKind::kNotFound);
}

// No emulator of Google's or Microsoft's store is here: this shows that their file systems are there and answer.
TEST(SlowClouds, OtherStoresThatCannotBeReachedAreSaidSoInALine) {
  const auto store =
      ObjectStore::open("gs://anonymous@bucket/x?endpoint_override=127.0.0.1%3A1&scheme=http&retry_limit_seconds=1");
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto listed = (*store)->list("");
  ASSERT_FALSE(listed.ok());
  EXPECT_THAT(listed.error().message, testing::StartsWith("gs://anonymous@bucket/x: "));
  EXPECT_EQ(listed.error().message.find('\n'), std::string::npos);
  EXPECT_TRUE(ObjectStore::open("abfs://container@account.dfs.core.windows.net/x").ok());
}

TEST(FileStore, KeepsThePromises) {
  TestDirectory dir;
  const auto store = ObjectStore::open("file://" + (dir / "store").string());
  ASSERT_TRUE(store.ok()) << store.error().message;
  check_store(**store);
  EXPECT_THAT(ObjectStore::open("ftp://x").error().message, HasSubstr("known are file:///PATH, s3://"));
  EXPECT_FALSE(ObjectStore::open("file://relative").ok());
}

TEST(FileStore, ModelsAreCopiedFromFolders) {
  TestDirectory dir;
  fs::create_directories(dir / "source/sub/m");
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    std::ofstream(dir / "source/sub/m" / name) << "x";
  }
  const auto path = fetch_object_model("file://" + (dir / "source/sub/m").string(), "", dir / "cache");
  ASSERT_TRUE(path.ok()) << path.error().message;
  EXPECT_EQ(read_file(*path / "model.safetensors").value(), "x");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir / "cache/blobs"), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace graft::storage
