#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "model/adapter.h"
#include "training/lora_session/lora_session.h"

namespace graft::training {

// A fresh adapter by the settings' rules, or the one they start from. Masters are set; repack() is the caller's.
Result<model::Adapter> new_adapter(const LoraSettings& settings, const formats::ModelSpec& spec, at::ScalarType dtype);

struct OptimizerState {
  at::Tensor masters, exp_avg, exp_avg_sq;  // [elements] float32; share memory with their owner
  int64_t step = 0;
};
// optimizer.safetensors in `directory`. load writes into the tensors and returns the step count.
Status save_optimizer_state(const std::string& directory, const OptimizerState& state);
Result<int64_t> load_optimizer_state(const std::string& directory, const OptimizerState& state);

}  // namespace graft::training
