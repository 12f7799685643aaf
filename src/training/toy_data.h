#pragma once

#include <numeric>

#include "base/philox.h"
#include "training/batch_source.h"

// For tests: sequences that count upwards modulo the vocabulary, shuffled anew for each epoch.
namespace graft::training {

inline MicroBatch toy_micro_batch(int32_t vocab, const std::vector<int32_t>& rows) {
  MicroBatch micro;
  micro.batch.cu_seqlens.push_back(0);
  for (const int32_t row : rows) {
    const int32_t length = 3 + row % 4;
    for (int32_t i = 0; i < length; ++i) {
      micro.batch.tokens.push_back((row + i) % vocab);
      micro.batch.labels.push_back(i == 0 ? kIgnoreLabel : (row + i + 1) % vocab);
    }
    micro.batch.cu_seqlens.push_back(static_cast<int32_t>(micro.batch.tokens.size()));
    micro.rows.push_back("toy.jsonl:" + std::to_string(row + 1));
  }
  return micro;
}

class ToyData final : public BatchSource {
 public:
  ToyData(int32_t vocab, int32_t rows, int32_t rows_per_micro_batch, int32_t micro_batches)
      : vocab_(vocab), rows_(rows), rows_per_micro_batch_(rows_per_micro_batch), micro_batches_(micro_batches) {}

  Result<StepBatch> next() override {
    StepBatch step;
    for (int32_t m = 0; m < micro_batches_; ++m) {
      std::vector<int32_t> rows;
      for (int32_t r = 0; r < rows_per_micro_batch_; ++r) rows.push_back(row_at(position_++));
      step.micro_batches.push_back(toy_micro_batch(vocab_, rows));
    }
    step.epoch = static_cast<double>(position_) / rows_;
    return step;
  }
  [[nodiscard]] nlohmann::json cursor() const override { return {{"position", position_}}; }
  Status seek(const nlohmann::json& cursor) override {
    if (!cursor.is_object() || !cursor.contains("position")) return invalid("the data cursor has no position");
    position_ = cursor["position"].get<int64_t>();
    return {};
  }

 private:
  [[nodiscard]] int32_t row_at(int64_t position) const {
    std::vector<int32_t> order(static_cast<size_t>(rows_));
    std::iota(order.begin(), order.end(), 0);
    philox_shuffle(std::span(order), 3, static_cast<uint64_t>(position / rows_));
    return order[static_cast<size_t>(position % rows_)];
  }

  int32_t vocab_, rows_, rows_per_micro_batch_, micro_batches_;
  int64_t position_ = 0;
};

}  // namespace graft::training
