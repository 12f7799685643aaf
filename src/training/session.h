#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/batch.h"
#include "runtime/step_model.h"
#include "training/optimizers/updater.h"

namespace graft::training {

using recipe::kIgnoreLabel;
using recipe::PackedBatch;

struct LossSum {
  double loss = 0;     // sum over the labelled rows, in nats
  int64_t tokens = 0;  // labelled rows
};

// A session that classifies has the number of a sequence's class as the label of its last token, and no other labels.
//
// A trainable adapter over resident base weights, or trainable weights: the primitives every method is a loop over. A
// session belongs to one thread. Everything it computes is a function of its state and its arguments, bit for bit, for
// one build, instruction set and thread count. Where it keeps an average of its parameters, everything but
// forward_backward and optim_step works with the average.
class Session {
 public:
  virtual ~Session() = default;

  // Adds the gradient of (sum of the batch's losses) * scale to the accumulated gradients. `dropout_stream` names the
  // random numbers of this call: the same value draws the same masks.
  virtual Result<LossSum> forward_backward(const PackedBatch& batch, double scale, uint64_t dropout_stream) = 0;
  virtual Result<LossSum> evaluate(const PackedBatch& batch) = 0;  // no gradient, no dropout
  // Log-probability of each row's label as the next token, NaN for ignored rows; also where the session classifies.
  // [tokens]
  virtual Result<std::vector<float>> logprobs(const PackedBatch& batch) = 0;

  // Of a session that classifies: the logits of every sequence, whatever the batch's labels are. [sequences * labels]
  virtual Result<std::vector<float>> classify(const PackedBatch& /*batch*/) {
    return unsupported("this session has no classification head");
  }

  // Before the first forward_backward of a step, with what optim_step will be given. A full session applies gradients
  // while it computes them: its step has one forward_backward, its optim_step only reports the norm, and where that is
  // not finite, some weights have changed and others not.
  virtual Status begin_step(const StepParams& /*params*/) { return {}; }
  // Clips, steps, zeroes the gradients. Returns the gradient's norm before clipping; not finite: nothing was changed.
  virtual Result<double> optim_step(const StepParams& params) = 0;

  // Parameters, the optimizer's state and step count. `directory` exists; load checks that the adapter's shape and the
  // optimizer are the same.
  virtual Status save_state(const std::string& directory) = 0;
  virtual Status load_state(const std::string& directory) = 0;

  // Whether all weights are trained: the result is a model, not an adapter on the base.
  [[nodiscard]] virtual bool is_full() const { return false; }
  // PEFT files; of a full session a Hugging Face directory. `directory` exists and is empty.
  virtual Status save_adapter(const std::string& directory) = 0;
  // A snapshot of the adapter for the runtime, to sample with; null of a full session.
  virtual Result<std::shared_ptr<const runtime::AdapterWeights>> snapshot() = 0;
  // A model over the same base weights, of a full session over the trained ones. At most one at a time; not while
  // forward_backward runs.
  virtual Result<std::unique_ptr<runtime::StepModel>> step_model(int32_t kv_tokens) = 0;
  // The same over the weights as they were before training.
  virtual Result<std::unique_ptr<runtime::StepModel>> base_model(int32_t kv_tokens) { return step_model(kv_tokens); }

  [[nodiscard]] virtual int64_t trainable_parameters() const = 0;
};

}  // namespace graft::training
