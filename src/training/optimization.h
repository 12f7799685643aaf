#pragma once

#include "recipe/training_config.h"
#include "training/optimizers/updater.h"

namespace graft::training {

// What trainer.optimizer, adapter.loraplus_lr_ratio and trainer.ema_decay of a resolved config say.
Optimization optimization(const recipe::TrainingConfig& config);

}  // namespace graft::training
