#pragma once

#include <memory>

#include "base/result.h"
#include "model/decoder.h"
#include "training/session.h"
#include "training/session_settings.h"

namespace graft::training {

// A LoRA adapter over a decoder whose weights stay frozen, and where the settings name labels a classification head on
// the last hidden states. B starts at zero, A uniform as PEFT's kaiming_uniform(sqrt 5) draws it, or both as PiSSA has
// them (pissa.h); the head is normal with transformers' usual deviation of 0.02. All from counter-based random numbers.
Result<std::unique_ptr<Session>> make_lora_session(std::shared_ptr<const model::Decoder> decoder,
                                                   const SessionSettings& settings);

}  // namespace graft::training
