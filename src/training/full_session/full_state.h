#pragma once

#include <string>

#include "base/result.h"
#include "training/full_session/full_weights.h"
#include "training/full_session/packed_adamw.h"

namespace graft::training {

// session.safetensors in `directory`, which exists: packed weights, vectors, moments, step count. load checks that the
// model and the optimizer are the same.
Status save_full_state(const std::string& directory, FullWeights& weights, PackedAdamW& optimizer);
Status load_full_state(const std::string& directory, FullWeights& weights, PackedAdamW& optimizer);

}  // namespace graft::training
