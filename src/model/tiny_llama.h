#pragma once

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/test_python.h"
#include "formats/model_source.h"
#include "model/decoder.h"
#include "model/prepare.h"
#include "model/weights.h"

namespace graft::model {

// For tests: runs tests/oracles/tiny_llama.py and returns what it printed.
inline nlohmann::json tiny_llama(const std::vector<std::string>& arguments) {
  std::ifstream stream(std::string(GRAFT_SOURCE_DIR) + "/tests/oracles/tiny_llama.py");
  const std::string script((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  const std::string printed = run_python(script, arguments);
  auto json = nlohmann::json::parse(printed, nullptr, false);
  if (!json.is_object()) ADD_FAILURE() << printed;
  return json;
}

// Prepares the model of a Hugging Face directory beside it, and opens it.
inline std::shared_ptr<const Decoder> tiny_decoder(const std::filesystem::path& directory, WeightDType dtype) {
  const auto source = formats::ModelSource::open(directory);
  if (!source.ok()) {
    ADD_FAILURE() << source.error().message;
    return nullptr;
  }
  const auto file = directory / (std::string("prepared-") + weight_dtype_name(dtype));
  const Status prepared =
      prepare_weights((*source)->spec(), [&](const std::string& name) { return (*source)->read(name); }, dtype, file);
  if (!prepared.ok()) {
    ADD_FAILURE() << prepared.error().message;
    return nullptr;
  }
  auto weights = open_prepared(file, (*source)->spec());
  if (!weights.ok()) {
    ADD_FAILURE() << weights.error().message;
    return nullptr;
  }
  auto decoder = Decoder::create((*source)->spec(), std::move(*weights));
  if (!decoder.ok()) {
    ADD_FAILURE() << decoder.error().message;
    return nullptr;
  }
  return std::make_shared<const Decoder>(std::move(*decoder));
}

inline double largest_difference(const std::vector<float>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return 1e9;
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - expected[i]);
    worst = difference <= worst ? worst : difference;  // a NaN is the worst
  }
  return worst;
}

}  // namespace graft::model
