#pragma once

#include "model/adapter.h"
#include "model/weights.h"

namespace graft::model {

// Norms of a DoRA's changed weights, ||W + scale B A|| of every row, from the masters in float32 (a quantised W is what
// its values are): after every change of the masters. Nothing happens to a LoRA.
void refresh_norms(Adapter& adapter, const Weights& weights);

// Magnitudes that change nothing yet: the norms of W + scale B A themselves.
void initialise_magnitudes(Adapter& adapter, const Weights& weights);

}  // namespace graft::model
