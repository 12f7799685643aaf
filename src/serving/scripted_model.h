#pragma once

#include <memory>
#include <string>
#include <utility>

#include "serving/fake_step_model.h"

namespace graft::serving {

// For tests: a model that wants to say `script`, byte by byte, and then to end, whatever the prompt is. For one request
// at a time: the first row that it is asked for is the end of the prompt.
inline std::unique_ptr<FakeStepModel> scripted_model(std::string script) {
  auto model = std::make_unique<FakeStepModel>(512, 16);
  auto first = std::make_shared<int64_t>(-1);
  model->after_row = [script = std::move(script), first](int64_t position, std::span<float> row) {
    if (*first < 0) *first = position;
    const auto at = static_cast<size_t>(position - *first);
    row[at < script.size() ? static_cast<unsigned char>(script[at]) : size_t{kFakeEos}] = 100;
  };
  return model;
}

}  // namespace graft::serving
