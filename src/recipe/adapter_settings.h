#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "formats/peft_config.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// Iterations of the decomposition that adapter.init_lora_weights names: 0, the exact one, of `pissa`; N of
// `pissa_niter_N`. Nothing where it is no PiSSA.
std::optional<int64_t> pissa_iterations(std::string_view init_lora_weights);

// The adapter as PEFT's settings, for a base model of this name: what is saved. A PiSSA adapter has twice the rank that
// is trained, with the same scale, since it holds beside what was trained what the run's base lacked.
formats::PeftConfig peft_config(const AdapterConfig& adapter, const std::string& base_model);

}  // namespace graft::recipe
