#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/step_model.h"

namespace graft::runtime {

// A model with or without an adapter.
struct AskedModel {
  StepModel* model = nullptr;
  const AdapterWeights* adapter = nullptr;
};

// How far what a model says next is from what another one says, over every position of some texts.
struct Divergence {
  int64_t positions = 0;
  double mean = 0;        // KL(reference || other), nats
  double largest = 0;     // of one position
  int64_t same_best = 0;  // positions where both have the same likeliest token
};

// Asks both about the same texts, piece by piece: memory for the logits of 32 positions. A text that is longer than
// either model's cache is cut off there; empty ones are left out. Errors: invalid where the vocabularies
// differ, or where both are one model, whose cache cannot hold both sides; those of StepModel::step.
Result<Divergence> measure_divergence(const AskedModel& reference, const AskedModel& other,
                                      std::span<const std::vector<int32_t>> texts);

}  // namespace graft::runtime
