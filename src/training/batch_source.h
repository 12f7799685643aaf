#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "training/session.h"

namespace graft::training {

// One forward and backward pass.
struct MicroBatch {
  PackedBatch batch;
  std::vector<std::string> rows;  // where its examples come from, for messages: "mails.jsonl:17"
};

// What one optimizer step learns from.
struct StepBatch {
  std::vector<MicroBatch> micro_batches;
  double epoch = 0;  // passes over the data, this step included
};

// The training data in the order in which it is learned: a pure function of its cursor.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual Result<StepBatch> next() = 0;
  // Where next() will go on, for checkpoints.
  [[nodiscard]] virtual nlohmann::json cursor() const = 0;
  virtual Status seek(const nlohmann::json& cursor) = 0;
};

}  // namespace graft::training
