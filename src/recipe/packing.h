#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "recipe/batch.h"
#include "recipe/training_config.h"

namespace graft::recipe {

struct PackingSettings {
  // An optimizer step holds at most step_tokens tokens (a longer example is a step of its own), or where step_rows is
  // set exactly that many examples (the last step of an epoch: what is left).
  int64_t step_tokens = 0;
  int64_t step_rows = 0;
  int64_t micro_batch_tokens = 0;  // a longer example is a micro-batch of its own
  uint64_t seed = 0;
};

PackingSettings packing_settings(const TrainingConfig& config);

using MicroBatchIndices = std::vector<int32_t>;  // examples that share a forward and backward pass

// Micro-batches of at most max_tokens (a longer example alone), by best fit, the longest examples first. Inside one,
// and among them, the given order is kept as far as that allows.
std::vector<MicroBatchIndices> micro_batches(std::span<const int32_t> lengths, std::span<const int32_t> indices,
                                             int64_t max_tokens);

// The optimizer steps of an epoch: every example exactly once, in an order shuffled by (seed, epoch) and packed by best
// fit into a few steps that are filled side by side. A pure function of its arguments.
std::vector<std::vector<int32_t>> epoch_steps(std::span<const int32_t> lengths, const PackingSettings& settings,
                                              int64_t epoch);

// What the next optimizer step learns from.
struct StepPlan {
  std::vector<MicroBatchIndices> micro_batches;
  double epoch = 0;  // passes over the data, this step included
};

// The training data in the order in which it is learned, with a cursor: after seek(cursor()) a fresh TrainingOrder over
// the same data goes on exactly where this one is.
class TrainingOrder {
 public:
  // `digest` names the data; a cursor of other data is refused. At least one example.
  TrainingOrder(std::vector<int32_t> lengths, PackingSettings settings, std::string digest);

  StepPlan next();  // endless
  // {"epoch", "step", "data"}: the step within the epoch that next() gives.
  [[nodiscard]] nlohmann::json cursor() const;
  Status seek(const nlohmann::json& cursor);

  // Packing differs a little between epochs, so this plans every one of them.
  [[nodiscard]] int64_t steps_in(int64_t epochs) const;

 private:
  void open_epoch(int64_t epoch);

  std::vector<int32_t> lengths_;
  PackingSettings settings_;
  std::string digest_;
  std::vector<std::vector<int32_t>> steps_;  // of epoch_
  int64_t epoch_ = 0;
  int64_t step_ = 0;
  int64_t learned_ = 0;  // examples of this epoch before step_
};

std::vector<int32_t> lengths_of(std::span<const Example> examples);

}  // namespace graft::recipe
