#pragma once

#include <c10/core/ScalarType.h>

#include "base/result.h"
#include "model/adapter.h"
#include "training/lora_session/lora_session.h"

namespace graft::training {

// A fresh adapter by the settings' rules, or the one they start from. Masters are set; repack() is the caller's.
Result<model::Adapter> new_adapter(const LoraSettings& settings, const formats::ModelSpec& spec,
                                   const model::Weights& weights);

// Over the adapter's masters and gradients, a block for each A and B, by the names that PEFT has for them.
Result<Updater> make_updater(model::Adapter& adapter, const formats::ModelSpec& spec, const LoraSettings& settings);

}  // namespace graft::training
