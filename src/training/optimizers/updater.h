#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "training/optimizers/optimizer.h"

namespace graft::training {

// How trained parameters change, for a whole run.
struct Optimization {
  OptimizerSettings optimizer = AdamWSettings{};
  double loraplus_lr_ratio = 1.0;  // LoRA+ (Hayou et al. 2024): the rate of every lora_B times this
  std::vector<std::string> no_decay =
      {};                  // blocks without weight decay: a block's name, or whole parts of it ("lora_B")
  double ema_decay = 0.0;  // of a moving average of the parameters; 0: none
};

struct StepParams {
  double learning_rate = 0;
  double max_grad_norm = 0;  // of all gradients together; 0: no clipping
  // Of each parameter's gradient; 0: no clipping. For weights that are stepped in the backward pass, where the norm of
  // all is not known yet.
  double max_parameter_norm = 0;
};

// Blocks that `no_decay` names keep their size. Errors: an entry that names no block.
Status exempt_from_decay(const std::vector<std::string>& no_decay, std::vector<ParameterBlock>& blocks);

// The parameters of a session, their gradients, and everything that a step needs: optimizer, clipping, average. The
// spans belong to the session and outlive this.
class Updater {
 public:
  // Errors: an entry of no_decay that names no block.
  static Result<Updater> create(const Optimization& optimization, std::vector<ParameterBlock> blocks,
                                std::span<float> parameters, std::span<float> gradients, RunTasks run);

  // Clips, steps, zeroes the gradients. Returns the gradient's norm before clipping; not finite: nothing was changed.
  double step(const StepParams& params);

  // Which parameters the span holds: the trained ones (to step), or their average (to evaluate and to save), which is
  // torch.optim.swa_utils' get_ema_multi_avg_fn. Returns whether the span's contents changed.
  bool show_trained();
  bool show_average();

  // optimizer.safetensors in `directory`, which exists. Both show the trained parameters. load zeroes the gradients;
  // errors name what the checkpoint's optimizer is where it is another one.
  Status save(const std::string& directory);
  Status load(const std::string& directory);

  [[nodiscard]] int64_t bytes() const;  // of the optimizer's state and the average

 private:
  Updater(Optimization optimization, std::vector<ParameterBlock> blocks, std::span<float> parameters,
          std::span<float> gradients, RunTasks run);
  void update_average();
  bool exchange();
  std::vector<StateTensor> tensors();
  Status load_tensors(const std::string& path);

  Optimization optimization_;
  std::span<float> parameters_, gradients_;
  RunTasks run_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<float> average_;  // while the average is shown: the trained parameters
  bool average_shown_ = false;
};

}  // namespace graft::training
