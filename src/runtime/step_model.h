#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/classification_head.h"

namespace graft::runtime {

// Adapter weights made ready for a model's kernels. Opaque here; whoever holds the pointer keeps them in memory.
class AdapterWeights {
 public:
  virtual ~AdapterWeights() = default;
  [[nodiscard]] virtual int64_t bytes() const = 0;
  // Null: the adapter classifies nothing.
  [[nodiscard]] virtual const ClassificationHead* head() const { return nullptr; }
};

enum class LogitRows { kNone, kLast, kAll };

// One sequence's share of a step: its next tokens, at absolute positions [start, start + tokens.size()).
struct SequenceSlice {
  std::span<const int32_t> tokens;          // [n], n >= 1
  int64_t start = 0;                        // tokens before `start` are in the cache already
  std::span<const int32_t> blocks;          // block table: physical ids for positions [0, start + n)
  const AdapterWeights* adapter = nullptr;  // nullptr: the base model
  LogitRows logits = LogitRows::kLast;
  bool hidden = false;  // these rows are asked for as hidden states, in place of logits
};

struct StepModelInfo {
  int64_t vocab_size = 0;
  int64_t max_position = 0;  // longest sequence the model was made for
  int32_t num_blocks = 0;    // KV blocks, ids 0 .. num_blocks - 1
  int32_t block_size = 0;    // positions in a block
  int64_t hidden_size = 0;
};

// The model as the scheduler sees it: one call is one forward pass over a ragged batch.
//
// Promise: a sequence's logits are the same bits whatever the other slices are, however its own tokens are cut into
// slices, and whichever physical blocks hold its cache.
class StepModel {
 public:
  virtual ~StepModel() = default;
  [[nodiscard]] virtual const StepModelInfo& info() const = 0;

  // Returns [rows, vocab_size] float32 logits, rows in the order of the slices (kLast: one, kAll: n, kNone: none; none
  // where hidden states are asked for). The memory belongs to the model and is valid until the next call. Only the
  // model thread calls this.
  virtual Result<std::span<const float>> step(std::span<const SequenceSlice> slices) = 0;
  // Of the last step: [rows, hidden_size] float32, after the last norm, of the slices that asked for hidden states.
  [[nodiscard]] virtual std::span<const float> hidden() const { return {}; }

  // Runs task(0) .. task(count - 1), each once, on the threads that steps use. Tasks do not throw. Only between steps.
  virtual void for_each(int64_t count, const std::function<void(int64_t)>& task) const {
    for (int64_t i = 0; i < count; ++i) task(i);
  }

  // Reads a PEFT directory. Thread-safe: adapter loads never stall the model thread.
  [[nodiscard]] virtual Result<std::shared_ptr<const AdapterWeights>> load_adapter(
      const std::string& directory) const = 0;
};

}  // namespace graft::runtime
