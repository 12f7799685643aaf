#pragma once

#include <atomic>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/step_model.h"

// For tests: a model without arithmetic. Its "keys and values" are hashes in a paged cache, and its logits are a hash
// of everything that the block table leads to, so that a wrong block, position, adapter or order changes the output.
namespace graft::serving {

constexpr int32_t kFakeVocab = 257;  // the bytes, and an end token
constexpr int32_t kFakeEos = 256;
constexpr int64_t kFakeHidden = 8;

inline uint64_t hash_mix(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15ULL + b + 0x2545f4914f6cdd1dULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class FakeAdapter final : public runtime::AdapterWeights {
 public:
  explicit FakeAdapter(uint64_t identity, int64_t size = 100, std::function<void()> destroyed = {})
      : seed(identity), size_(size), destroyed_(std::move(destroyed)) {}
  ~FakeAdapter() override {
    if (destroyed_) destroyed_();
  }
  [[nodiscard]] int64_t bytes() const override { return size_; }
  [[nodiscard]] const runtime::ClassificationHead* head() const override { return has_head ? &classifier : nullptr; }
  const uint64_t seed;
  bool has_head = false;
  runtime::ClassificationHead classifier;

 private:
  int64_t size_;
  std::function<void()> destroyed_;
};

class FakeStepModel final : public runtime::StepModel {
 public:
  FakeStepModel(int32_t num_blocks, int32_t block_size, int64_t max_position = 4096)
      : info_{kFakeVocab, max_position, num_blocks, block_size, kFakeHidden},
        cells_(static_cast<size_t>(num_blocks) * static_cast<size_t>(block_size)) {}

  // Runs at the start of every step; what it returns or throws is the step's outcome.
  std::function<Status(std::span<const runtime::SequenceSlice>)> before_step;
  // May change a row of logits: what the model says after `position`.
  std::function<void(int64_t position, std::span<float> row)> after_row;
  // Replaces the loading of a directory: by default its name and the contents of its config are the adapter.
  std::function<Result<std::shared_ptr<const runtime::AdapterWeights>>(const std::string&)> loader;

  [[nodiscard]] const runtime::StepModelInfo& info() const override { return info_; }

  Result<std::span<const float>> step(std::span<const runtime::SequenceSlice> slices) override {
    if (before_step) GRAFT_CHECK_OK(before_step(slices));
    written_.clear();
    for (const auto& slice : slices) GRAFT_CHECK_OK(write(slice));
    logits_.clear();
    hidden_.clear();
    for (const auto& slice : slices) {
      const auto end = slice.start + static_cast<int64_t>(slice.tokens.size());
      if (slice.logits == runtime::LogitRows::kNone) continue;
      for (int64_t position = slice.logits == runtime::LogitRows::kAll ? slice.start : end - 1; position < end;
           ++position) {
        if (slice.hidden) {
          append_hidden(slice, position);
        } else {
          append_row(slice, position);
        }
      }
    }
    return std::span<const float>(logits_);
  }

  [[nodiscard]] std::span<const float> hidden() const override { return hidden_; }

  [[nodiscard]] Result<std::shared_ptr<const runtime::AdapterWeights>> load_adapter(
      const std::string& directory) const override {
    if (loader) return loader(directory);
    if (directory.starts_with("missing")) return not_found(directory + ": no such adapter");
    std::ifstream file(directory + "/adapter_config.json");
    const std::string config{std::istreambuf_iterator<char>(file), {}};
    return std::shared_ptr<const runtime::AdapterWeights>(
        std::make_shared<FakeAdapter>(std::hash<std::string>{}(directory + config)));
  }

 private:
  uint64_t& cell(const runtime::SequenceSlice& slice, int64_t position) {
    const auto block = slice.blocks[static_cast<size_t>(position / info_.block_size)];
    return cells_[static_cast<size_t>(block) * static_cast<size_t>(info_.block_size) +
                  static_cast<size_t>(position % info_.block_size)];
  }

  Status write(const runtime::SequenceSlice& slice) {
    const int64_t end = slice.start + static_cast<int64_t>(slice.tokens.size());
    if (slice.tokens.empty() || end > static_cast<int64_t>(slice.blocks.size()) * info_.block_size) {
      return internal_error("the block table is too short");
    }
    for (int64_t position = slice.start; position < end; ++position) {
      uint64_t& target = cell(slice, position);
      if (!written_.insert(&target).second) return internal_error("two sequences write to one place");
      const uint64_t before = position > 0 ? cell(slice, position - 1) : 0;
      const auto* adapter = static_cast<const FakeAdapter*>(slice.adapter);
      target = hash_mix(before, static_cast<uint64_t>(slice.tokens[static_cast<size_t>(position - slice.start)]));
      target = hash_mix(target, adapter == nullptr ? 0 : adapter->seed);
    }
    return {};
  }

  uint64_t hash_up_to(const runtime::SequenceSlice& slice, int64_t position) {
    uint64_t hash = 0;
    for (int64_t i = 0; i <= position; ++i) hash = hash_mix(hash, cell(slice, i));
    return hash;
  }

  void append_hidden(const runtime::SequenceSlice& slice, int64_t position) {
    const uint64_t hash = hash_mix(hash_up_to(slice, position), 1);
    for (int64_t i = 0; i < kFakeHidden; ++i) {
      hidden_.push_back(static_cast<float>(hash_mix(hash, static_cast<uint64_t>(i)) >> 40) * 0x1p-24F);
    }
  }

  void append_row(const runtime::SequenceSlice& slice, int64_t position) {
    const uint64_t hash = hash_up_to(slice, position);
    for (int32_t id = 0; id < kFakeVocab; ++id) {
      logits_.push_back(static_cast<float>(hash_mix(hash, static_cast<uint64_t>(id)) >> 40) * 0x1p-21F);  // [0, 8)
    }
    if (after_row) after_row(position, std::span(logits_).last(kFakeVocab));
  }

  runtime::StepModelInfo info_;
  std::vector<uint64_t> cells_;
  std::set<const uint64_t*> written_;
  std::vector<float> logits_, hidden_;
};

}  // namespace graft::serving
