#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "formats/model_source.h"
#include "model/decoder.h"
#include "training/session.h"

namespace graft::training {

struct FullSettings {
  Optimization optimization;                           // adamw or adamw_8bit, without an average
  uint64_t seed = 0;                                   // of the rounding of bfloat16 weights
  bool checkpointing = false;                          // keep each layer's input alone until the backward pass
  std::shared_ptr<const formats::ModelSource> source;  // of the files beside the weights; needed to save the model
};

// Trains all weights of a decoder, in memory of its own: gradients are applied in the backward pass, a block of a
// matrix at a time, and never exist as a whole. Errors: unsupported for quantised weights, other optimizers, averages.
Result<std::unique_ptr<Session>> make_full_session(std::shared_ptr<const model::Decoder> decoder,
                                                   const FullSettings& settings);

}  // namespace graft::training
