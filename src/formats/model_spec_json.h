#pragma once

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "formats/model_spec.h"

namespace graft::formats {

// A ModelSpec as graft stores it (model.json, job.json, /info). Reading is strict: unknown, missing and out-of-range
// keys are errors.
nlohmann::ordered_json spec_to_json(const ModelSpec& spec);
Result<ModelSpec> spec_from_json(const nlohmann::json& value);

}  // namespace graft::formats
