#pragma once

#include <cstdint>
#include <vector>

#include "model/decoder.h"

namespace graft::model {

// What layers are run with, in the forward pass and again in the backward pass. What it points to outlives both.
struct LayerRun {
  std::vector<int32_t> cu_seqlens;
  std::vector<AdapterSegment> segments;
  WeightGradients* gradients = nullptr;  // where the weights are trained; then there are no segments
};

// Decoder::forward_embedded with gradients, over whole sequences, that keeps each layer's input and nothing else: the
// backward pass runs a layer again before it goes back through it. Results and gradients are the same bits.
// Activation checkpointing: Chen et al., 2016.
at::Tensor forward_checkpointed(const Decoder& decoder, at::Tensor embeddings, const LayerRun& run);

}  // namespace graft::model
