#pragma once

#include <string>

#include "formats/peft_config.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// The adapter section as PEFT's settings: what a session is made from, and what stands in adapter_config.json.
// formats::adapter_slots tells which modules it means on a model, and refuses names that match none.
formats::PeftConfig peft_config(const AdapterConfig& adapter, const std::string& base_model);

}  // namespace graft::recipe
