#pragma once

#include <string_view>

#include "base/config_reader.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// Whether this kind of decay has the key of trainer.learning_rate_scheduler.
bool decay_has_key(const SchedulerConfig& scheduler, std::string_view key);

// Refuses keys that belong to another kind of decay, warm-ups that contradict each other, and an end above the
// beginning. `section` is trainer.learning_rate_scheduler.
void check_schedule(ConfigReader& section, const TrainerConfig& trainer);

}  // namespace graft::recipe
