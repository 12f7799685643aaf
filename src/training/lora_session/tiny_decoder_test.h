#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/tiny_llama.h"

namespace graft::training {

// One tiny model for all tests of a suite, in float32 and bfloat16: writing it starts Python.
class TinyDecoderTest : public testing::Test {
 protected:
  using WeightDType = model::WeightDType;

  static void SetUpTestSuite() {
    directory_ = std::make_unique<TestDirectory>();
    expected_ = model::tiny_llama({"model", model_path()});
    for (const WeightDType dtype : {WeightDType::kFloat32, WeightDType::kBFloat16}) {
      decoders_[dtype] = model::tiny_decoder(model_path(), dtype);
    }
  }
  static void TearDownTestSuite() {
    decoders_.clear();
    directory_.reset();
  }
  static std::string model_path() { return (*directory_ / "model").string(); }
  static std::string path(const std::string& name) {
    std::filesystem::create_directories(*directory_ / name);
    return (*directory_ / name).string();
  }
  static std::vector<int32_t> tokens() { return expected_["tokens"].get<std::vector<int32_t>>(); }

  inline static std::unique_ptr<TestDirectory> directory_;
  inline static nlohmann::json expected_;
  inline static std::map<WeightDType, std::shared_ptr<const model::Decoder>> decoders_;
};

}  // namespace graft::training
