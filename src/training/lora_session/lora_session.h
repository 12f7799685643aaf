#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "formats/peft_config.h"
#include "model/decoder.h"
#include "training/session.h"

namespace graft::training {

struct LoraSettings {
  formats::PeftConfig peft;
  uint64_t seed = 0;       // of the first weights
  std::string pretrained;  // PEFT directory to start from, or empty
  Optimization optimization;
};

// A LoRA adapter over a decoder whose weights stay frozen. B starts at zero, A uniform as PEFT's
// kaiming_uniform(sqrt 5) draws it, from counter-based random numbers.
Result<std::unique_ptr<Session>> make_lora_session(std::shared_ptr<const model::Decoder> decoder,
                                                   const LoraSettings& settings);

}  // namespace graft::training
