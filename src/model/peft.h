#pragma once

#include <vector>

#include "base/result.h"
#include "formats/peft_adapter.h"
#include "formats/peft_config.h"
#include "model/adapter.h"
#include "model/weights.h"

namespace graft::model {

// Where PEFT's settings act on a decoder. Targets that are no projection of a decoder layer (lm_head) are refused.
Result<std::vector<AdapterTarget>> adapter_targets(const std::vector<formats::AdapterSlot>& slots);

// An adapter with the factors of a PEFT directory, packed, over the base `weights`. `trainable` keeps its masters and
// makes room for gradients, and for `extra` more floats (see Adapter).
Result<Adapter> adapter_from_peft(const formats::PeftAdapter& files, const formats::ModelSpec& spec,
                                  const Weights& weights, bool trainable, int64_t extra = 0);

// Writes the masters as PEFT files into an existing directory; `head`: of a classifier.
Status write_peft(const std::filesystem::path& directory, const formats::PeftConfig& config,
                  const formats::ModelSpec& spec, Adapter& adapter, const formats::HeadFactors* head = nullptr);

}  // namespace graft::model
