#include "storage/hub_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"

namespace graft::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(HubFiles, PathsStayBelowTheirFolder) {
  for (const char* good : {"a", "a/b.c", "..a/b", "a b/ü"}) EXPECT_TRUE(is_safe_path(good)) << good;
  for (const char* bad : {"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\nb", "a\xff"}) {
    EXPECT_FALSE(is_safe_path(bad)) << bad;
  }
}

TEST(HubFiles, SafetensorsGoBeforeBinAndDirectoriesBeforeGguf) {
  const std::vector<std::string> names = {"config.json", "tokenizer.json",         "model.safetensors",
                                          "x.gguf",      "pytorch_model.bin",      "consolidated.safetensors",
                                          "tf_model.h5", "onnx/model.safetensors", "merges.txt"};
  EXPECT_THAT(pick_model_files(names, "", "r")->files,
              ElementsAre("model.safetensors", "config.json", "tokenizer.json", "merges.txt"));
  EXPECT_EQ(pick_model_files(names, "x.gguf", "r")->gguf, "x.gguf");
  const std::vector<std::string> bin = {"config.json", "pytorch_model.bin", "training_args.bin"};
  EXPECT_THAT(pick_model_files(bin, "", "r")->files, ElementsAre("pytorch_model.bin", "config.json"));
}

TEST(HubFiles, WhatIsNoModelIsSaidSo) {
  const auto error = [](std::vector<std::string> names, const std::string& file = "") {
    return pick_model_files(names, file, "r").error().message;
  };
  EXPECT_THAT(error({"README.md"}), HasSubstr("r: no model in it"));
  EXPECT_THAT(error({"adapter_config.json", "adapter_model.safetensors"}), HasSubstr("an adapter, not a model"));
  EXPECT_THAT(error({"config.json"}, "x.gguf"), HasSubstr("holds no .gguf file"));
  EXPECT_THAT(error({"a-00001-of-00002.gguf"}), HasSubstr("only 1 of the parts"));
}

TEST(HubFiles, AnIndexNamesFilesInItsFolder) {
  EXPECT_THAT(files_of_index(R"({"weight_map":{"a":"2.x","b":"1.x","c":"2.x"}})", "i").value(),
              ElementsAre("1.x", "2.x"));
  for (const char* bad :
       {"{", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"../x"}})"}) {
    EXPECT_FALSE(files_of_index(bad, "i").ok()) << bad;
  }
}

}  // namespace
}  // namespace graft::storage
