#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "serving/engine.h"

namespace graft::training {

// Whether a PEFT directory is one of a classifier of whole texts, by its adapter_config.json. An unreadable one is
// none: whoever loads it says what is wrong.
bool is_classifier(const std::optional<std::string>& adapter);

// A request for the class of a text.
serving::GenerationRequest class_request(std::vector<int32_t> tokens, const std::string& adapter_id);

struct ClassAnswer {
  size_t label = 0;
  std::string name;
  std::vector<double> probabilities;  // [labels]
};
ClassAnswer class_answer(const serving::GenerationResult& result);

}  // namespace graft::training
