#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "training/session.h"

namespace graft::training {

// One forward and backward pass.
struct MicroBatch {
  PackedBatch batch;
  std::vector<std::string> rows;  // where its examples come from, for messages: "mails.jsonl:17"
};

// Micro-batches that are made when they are asked for, the same ones each time: those of an evaluation. Cheap to copy.
class MicroBatches {
 public:
  MicroBatches() = default;
  MicroBatches(std::vector<MicroBatch> batches)  // NOLINT(google-explicit-constructor)
      : size_(batches.size()) {
    const auto kept = std::make_shared<const std::vector<MicroBatch>>(std::move(batches));
    make_ = [kept](size_t index) -> Result<MicroBatch> { return (*kept)[index]; };
  }
  MicroBatches(size_t size, std::function<Result<MicroBatch>(size_t index)> make)
      : size_(size), make_(std::move(make)) {}

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  // Errors: what the disk refuses, where the examples lie there.
  [[nodiscard]] Result<MicroBatch> get(size_t index) const { return make_(index); }

 private:
  size_t size_ = 0;
  std::function<Result<MicroBatch>(size_t)> make_;
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
