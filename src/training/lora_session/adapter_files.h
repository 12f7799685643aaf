#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/adapter.h"
#include "training/lora_session/lora_session.h"

namespace graft::training {

// A fresh adapter by the settings' rules, or the one they start from; of a classifier, with its head behind the factors
// (Adapter::extra). Masters are set; repack() is the caller's.
Result<model::Adapter> new_adapter(const SessionSettings& settings, const formats::ModelSpec& spec,
                                   const model::Weights& weights);

// Over the adapter's masters and gradients, a block for each A and B, by the names that PEFT has for them, and "score".
// What stays frozen is in no block; its gradients must be zero at a step.
Result<Updater> make_updater(model::Adapter& adapter, const formats::ModelSpec& spec, const SessionSettings& settings);

// Of the head; 0 where the session does not classify.
int64_t head_parameters(const SessionSettings& settings, const formats::ModelSpec& spec);

}  // namespace graft::training
