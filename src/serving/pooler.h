#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/classification_head.h"

namespace graft::serving {

// What is made of a prompt's hidden states.
enum class Pooling {
  kNone,
  kMean,      // of all tokens -> [hidden]
  kLast,      // the last token's -> [hidden]
  kClassify,  // the adapter's head on them -> logits, [labels] or [tokens, labels]
};

// Takes hidden states in as steps yield them; rows that come again, after a preemption, change nothing. Sums run in the
// order of the tokens, so chunks cannot be seen in the result.
class Pooler {
 public:
  // `head`: with kClassify only; it outlives the pooler.
  explicit Pooler(Pooling pooling, const runtime::ClassificationHead* head = nullptr)
      : pooling_(pooling), head_(head) {}

  [[nodiscard]] bool every_row() const;
  // rows: [n, hidden], of the tokens from position `start` on.
  void add(int32_t start, std::span<const float> rows, size_t hidden);
  [[nodiscard]] std::vector<float> result() const;

 private:
  Pooling pooling_;
  const runtime::ClassificationHead* head_;
  int32_t rows_ = 0;  // positions below were taken
  std::vector<double> sum_;
  std::vector<float> kept_;
};

}  // namespace graft::serving
