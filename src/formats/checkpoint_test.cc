#include "formats/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dequantise.h"
#include "formats/safetensors_writer.h"

namespace graft::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<float> floats(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  EXPECT_TRUE(to_float32(view, values).ok());
  return values;
}

TEST(Checkpoint, ShardsAreReadThroughTheirIndex) {
  TestDirectory dir;
  ASSERT_EQ(run_python(R"(
import sys, json, torch
from safetensors.torch import save_file
d = sys.argv[1]
save_file({"a": torch.ones(2), "unlisted": torch.ones(1)}, d + "/model-00001-of-00002.safetensors")
save_file({"b": torch.full((3,), 2.0)}, d + "/model-00002-of-00002.safetensors")
json.dump({"metadata": {"total_size": 20}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}},
          open(d + "/model.safetensors.index.json", "w"))
)",
                       {dir.path()}),
            "");
  const Checkpoint checkpoint = Checkpoint::open(dir.path()).value();
  EXPECT_THAT(checkpoint.names(), ElementsAre("a", "b"));
  EXPECT_EQ(floats(*checkpoint.find("b")), (std::vector<float>{2, 2, 2}));
  EXPECT_EQ(checkpoint.find("unlisted"), nullptr);
  EXPECT_EQ(checkpoint.files().size(), 2U);
}

TEST(Checkpoint, TorchShardsAreReadWhereThereAreNoSafetensors) {
  TestDirectory dir;
  ASSERT_EQ(run_python(R"(
import sys, json, torch
from safetensors.torch import save_file
d = sys.argv[1]
torch.save({"a": torch.ones(2)}, d + "/pytorch_model-00001-of-00002.bin")
torch.save({"b": torch.full((3,), 2.0)}, d + "/pytorch_model-00002-of-00002.bin")
json.dump({"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}},
          open(d + "/pytorch_model.bin.index.json", "w"))
)",
                       {dir.path()}),
            "");
  const Checkpoint shards = Checkpoint::open(dir.path()).value();
  EXPECT_THAT(shards.names(), ElementsAre("a", "b"));
  EXPECT_EQ(floats(*shards.find("b")), (std::vector<float>{2, 2, 2}));
  const std::vector<float> one = {1};
  ASSERT_TRUE(write_safetensors(dir / "model.safetensors",
                                std::vector{TensorView{"s", DType::kF32, {1}, std::as_bytes(std::span(one))}})
                  .ok());
  EXPECT_THAT(Checkpoint::open(dir.path()).value().names(), ElementsAre("s"));
}

TEST(Checkpoint, BrokenIndexesAreRefused) {
  TestDirectory dir;
  auto message = [&](const std::string& index) {
    std::ofstream(dir / "model.safetensors.index.json") << index;
    const auto checkpoint = Checkpoint::open(dir.path());
    return checkpoint.ok() ? "accepted" : checkpoint.error().message;
  };
  EXPECT_EQ(Checkpoint::open(dir.path()).error().kind, ErrorKind::kNotFound);
  EXPECT_THAT(message("{}"), HasSubstr("no weight_map"));
  EXPECT_THAT(message(R"({"weight_map":{}})"), HasSubstr("empty"));
  EXPECT_THAT(message(R"({"weight_map":{"a":"../secret.safetensors"}})"), HasSubstr("file of this directory"));
  EXPECT_THAT(message(R"({"weight_map":{"a":"shard.safetensors"}})"), HasSubstr("shard.safetensors"));
  const std::vector<float> one = {1};
  ASSERT_TRUE(write_safetensors(dir / "shard.safetensors",
                                std::vector{TensorView{"b", DType::kF32, {1}, std::as_bytes(std::span(one))}})
                  .ok());
  EXPECT_THAT(message(R"({"weight_map":{"a":"shard.safetensors"}})"),
              HasSubstr("tensor 'a' is not in shard.safetensors"));
  EXPECT_EQ(message(R"({"weight_map":{"b":"shard.safetensors"}})"), "accepted");
}

}  // namespace
}  // namespace graft::formats
