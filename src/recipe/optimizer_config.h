#pragma once

#include <string_view>

#include "base/config_reader.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// Whether optimizers of this type have the key of trainer.optimizer.
bool optimizer_has_key(std::string_view type, std::string_view key);

// Refuses keys that the type does not have, saying which it has and whose the key is; gives its own keys their
// defaults (Ludwig's where Ludwig has the type, otherwise torch's or transformers'). `section` is trainer.optimizer.
void resolve_optimizer(ConfigReader& section, OptimizerConfig& optimizer);

// Bytes of optimizer state, and of the average of the parameters, for each trained parameter.
int64_t optimizer_bytes(const TrainerConfig& trainer);

}  // namespace graft::recipe
