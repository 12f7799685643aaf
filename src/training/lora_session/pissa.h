#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/adapter.h"
#include "model/weights.h"
#include "training/session_settings.h"

namespace graft::training {

// PiSSA (Meng et al. 2024, arXiv:2404.02948): the principal part U S V^T of each target's weight moves into the
// factors, B = U sqrt(S / scale) and A = sqrt(S / scale) V^T, and the base of the run is W without it. The resident
// base is shared and stays as it is: targets have twice the rank, and the second half is the same factors with -B,
// frozen. What is computed, W x + scale (B A - B0 A0) x, is a plain LoRA over the unchanged base, which is what PEFT
// makes of a PiSSA adapter when it saves one.
//
// Sets the masters of every target. Errors: half a target's rank is more than its weight has singular values.
Status initialise_pissa(model::Adapter& adapter, const model::Weights& weights, const PissaSettings& settings,
                        uint64_t seed);

// Where, in the flat masters and gradients, the frozen halves lie: [begin, end).
struct FrozenRange {
  int64_t begin = 0, end = 0;
};
std::vector<FrozenRange> frozen_halves(model::Adapter& adapter);

}  // namespace graft::training
