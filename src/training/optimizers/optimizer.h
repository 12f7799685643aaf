#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace graft::training {

// Runs task(0) .. task(count - 1), each once, in any order on any threads, and returns when all are done. Every result
// of this room is the same whatever the order and the threads.
using RunTasks = std::function<void(int64_t count, const std::function<void(int64_t)>& task)>;
void run_tasks_here(int64_t count, const std::function<void(int64_t)>& task);  // one after the other

// One matrix (or vector: rows = 1) of the flat parameters, row-major. What an optimizer does to a matrix and to its
// transpose is the same; `transposed` says that the stored one is the transpose of the module's, which matters where a
// rule speaks of rows and columns.
struct ParameterBlock {
  std::string name = {};  // "model.layers.3.self_attn.q_proj.lora_A"
  int64_t offset = 0;
  int64_t rows = 1;
  int64_t columns = 0;
  bool matrix = true;
  bool transposed = false;
  double learning_rate_scale = 1.0;  // of the step's rate
  bool decays = true;                // weight decay applies

  [[nodiscard]] int64_t elements() const { return rows * columns; }
};

// Loshchilov and Hutter 2019, as torch.optim.AdamW takes it.
struct AdamWSettings {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
};

// AdamW whose moments are kept as 8-bit codes (Dettmers et al. 2022; dynamic_code.h), a scale for each 256 of them.
// Blocks of fewer than `min_8bit_size` elements keep float32, as in bitsandbytes.
struct AdamW8bitSettings {
  AdamWSettings adamw = {};
  int64_t min_8bit_size = 4096;
};

// Chen et al. 2023: the sign of a mixture of gradient and momentum.
struct LionSettings {
  double beta1 = 0.9, beta2 = 0.99, weight_decay = 0.0;
};

// Shazeer and Stern 2018, with the rate from outside: transformers' Adafactor with scale_parameter and relative_step
// False. `eps` is the first of its two.
struct AdafactorSettings {
  double eps = 1e-30, clip_threshold = 1.0, decay_rate = -0.8;
  std::optional<double> beta1 = std::nullopt;  // first moment; none without
  double weight_decay = 0.0;
};

// Jordan et al. 2024, as torch.optim.Muon takes it: momentum, orthogonalised by Newton-Schulz. Vectors are stepped by
// AdamW with its defaults.
struct MuonSettings {
  double momentum = 0.95;
  bool nesterov = true;
  double weight_decay = 0.1;
  int64_t ns_steps = 5;
  double eps = 1e-7;
  bool match_rms_adamw = false;  // rate x 0.2 sqrt(max(rows, columns)); otherwise x sqrt(max(1, rows / columns))
};

// torch.optim.SGD; weight decay is added to the gradient.
struct SgdSettings {
  double momentum = 0.0, dampening = 0.0;
  bool nesterov = false;
  double weight_decay = 0.0;
};

using OptimizerSettings =
    std::variant<AdamWSettings, AdamW8bitSettings, LionSettings, AdafactorSettings, MuonSettings, SgdSettings>;

// adamw, adamw_8bit, lion, adafactor, muon, sgd
std::string_view optimizer_name(const OptimizerSettings& settings);

struct OptimizerInput {
  std::span<float> parameters;
  std::span<const float> gradients;
  double learning_rate = 0;
  double gradient_scale = 1;  // gradients are multiplied by it first
};

// A part of an optimizer's state, to be saved and loaded as it is.
struct StateTensor {
  std::string name;
  std::variant<std::span<float>, std::span<uint8_t>> values;
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // One step. Elements outside the blocks (padding) are left alone. Gradients are finite.
  void step(const OptimizerInput& input, const RunTasks& run) {
    ++steps_;
    apply(input, run);
  }

  // All that a resumed run needs beside steps(). The spans live as long as the optimizer.
  virtual std::vector<StateTensor> state() = 0;

  [[nodiscard]] int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 protected:
  virtual void apply(const OptimizerInput& input, const RunTasks& run) = 0;

 private:
  int64_t steps_ = 0;
};

// `elements`: of the flat parameters, padding included.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings, std::vector<ParameterBlock> blocks,
                                          int64_t elements);

int64_t state_bytes(Optimizer& optimizer);

// Euclidean norm, summed in double over fixed chunks.
double gradient_norm(std::span<const float> gradients, const RunTasks& run);

}  // namespace graft::training
