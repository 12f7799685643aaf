#include "training/optimization.h"

namespace graft::training {
namespace {

AdamWSettings adamw(const recipe::OptimizerConfig& c) {
  AdamWSettings settings;
  if (c.betas && c.betas->size() == 2) {
    settings.beta1 = (*c.betas)[0];
    settings.beta2 = (*c.betas)[1];
  }
  settings.eps = c.eps.value_or(settings.eps);
  settings.weight_decay = c.weight_decay.value_or(settings.weight_decay);
  return settings;
}

OptimizerSettings lion(const recipe::OptimizerConfig& c) {
  LionSettings settings;
  if (c.betas && c.betas->size() == 2) {
    settings.beta1 = (*c.betas)[0];
    settings.beta2 = (*c.betas)[1];
  }
  settings.weight_decay = c.weight_decay.value_or(settings.weight_decay);
  return settings;
}

OptimizerSettings adafactor(const recipe::OptimizerConfig& c) {
  AdafactorSettings settings;
  settings.eps = c.eps.value_or(settings.eps);
  settings.clip_threshold = c.clip_threshold.value_or(settings.clip_threshold);
  settings.decay_rate = c.decay_rate.value_or(settings.decay_rate);
  settings.beta1 = c.beta1;
  settings.weight_decay = c.weight_decay.value_or(settings.weight_decay);
  return settings;
}

OptimizerSettings muon(const recipe::OptimizerConfig& c) {
  MuonSettings settings;
  settings.momentum = c.momentum.value_or(settings.momentum);
  settings.nesterov = c.nesterov.value_or(settings.nesterov);
  settings.weight_decay = c.weight_decay.value_or(settings.weight_decay);
  settings.ns_steps = c.ns_steps.value_or(settings.ns_steps);
  settings.eps = c.eps.value_or(settings.eps);
  settings.match_rms_adamw = c.adjust_lr_fn == "match_rms_adamw";
  return settings;
}

OptimizerSettings sgd(const recipe::OptimizerConfig& c) {
  SgdSettings settings;
  settings.momentum = c.momentum.value_or(settings.momentum);
  settings.dampening = c.dampening.value_or(settings.dampening);
  settings.nesterov = c.nesterov.value_or(settings.nesterov);
  settings.weight_decay = c.weight_decay.value_or(settings.weight_decay);
  return settings;
}

OptimizerSettings optimizer(const recipe::OptimizerConfig& c) {
  if (c.type == "adamw_8bit") {
    AdamW8bitSettings settings;
    settings.adamw = adamw(c);
    return settings;
  }
  if (c.type == "lion") return lion(c);
  if (c.type == "adafactor") return adafactor(c);
  if (c.type == "muon") return muon(c);
  if (c.type == "sgd") return sgd(c);
  return adamw(c);
}

}  // namespace

Optimization optimization(const recipe::TrainingConfig& config) {
  Optimization result;
  result.optimizer = optimizer(config.trainer.optimizer);
  result.loraplus_lr_ratio = config.adapter.loraplus_lr_ratio;
  result.no_decay = config.trainer.optimizer.no_decay;
  result.ema_decay = config.trainer.ema_decay;
  return result;
}

}  // namespace graft::training
