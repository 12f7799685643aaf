#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "formats/model_spec.h"
#include "formats/peft_config.h"
#include "recipe/training_config.h"

namespace graft::recipe {

// What the engine holds besides what follows from the model's shape. Measured, not derived.
struct EngineMemory {
  int64_t fixed_bytes = int64_t{256} << 20;  // program, libraries, thread stacks, allocator slack
  int64_t logit_rows = 96;                   // rows of the output layer that are computed at a time
};

struct MemoryInputs {
  formats::ModelSpec spec;
  std::vector<formats::AdapterSlot> slots;  // formats::adapter_slots
  bool full = false;                        // all weights are trained: no slots
  bool checkpointing = false;               // layers keep their input alone until the backward pass
  int64_t dtype_bytes = 2;                  // of activations and the adapter's packed factors
  double weight_bytes = 2;                  // of each base weight: less than 2 where they are quantised
  int64_t optimizer_bytes = 8;              // for each trained parameter (optimizer_config.h)
  int64_t micro_batch_tokens = 0;           // of the largest forward and backward pass
  int64_t sample_tokens = 0;                // positions of the cache that samples are drawn with
  EngineMemory engine = {};
};

// Bytes of a base weight stored as float32, bfloat16, int8 or int4, scales included.
double weight_bytes(const std::string& dtype);

struct MemoryItem {
  std::string name;
  int64_t bytes = 0;
};

struct MemoryPlan {
  std::vector<MemoryItem> items;
  int64_t micro_batch_tokens = 0;
  int64_t bytes_per_token = 0;  // of a micro-batch
  bool checkpointing = false;
  bool one_pass = false;  // a step is one micro-batch

  [[nodiscard]] int64_t total() const;
};

// Estimated peak of a run, item by item. The base weights count in full though they are mapped and shared: a run that
// has to read them from the disk over and over does not get anywhere. Where all weights are trained, these count in
// their place: the mapped ones are read at the beginning and the end.
MemoryPlan plan_memory(const MemoryInputs& inputs);

// The plan without checkpointing where that fits, else with it; `wanted` decides where it is given.
MemoryPlan choose_plan(MemoryInputs inputs, std::optional<bool> wanted, std::optional<int64_t> available);

// Tokens of the largest micro-batch that these rows can make.
int64_t largest_micro_batch(const TrainerConfig& trainer, int64_t longest_row);

// A line for each item, the total, and what is available. nullopt: not known.
std::string memory_table(const MemoryPlan& plan, std::optional<int64_t> available);

// An error with the remedy where the plan exceeds what is available.
Status check_memory(const MemoryPlan& plan, std::optional<int64_t> available);

// Bytes that this process can still get without swapping: MemAvailable, or less where a control group (v1 or v2)
// leaves less. `root` is where /proc and /sys are, for tests.
std::optional<int64_t> available_memory(const std::filesystem::path& root = "/");

}  // namespace graft::recipe
