#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graft::training {

// How rows of each class were classified.
class Confusion {
 public:
  explicit Confusion(std::vector<std::string> labels);

  void add(size_t reference, size_t answer);  // both numbers of labels

  [[nodiscard]] const std::vector<std::string>& labels() const { return labels_; }
  [[nodiscard]] int64_t count(size_t reference, size_t answer) const { return counts_[reference * size() + answer]; }
  [[nodiscard]] int64_t rows() const { return rows_; }
  [[nodiscard]] double accuracy() const;  // 0 without rows
  // Mean F1 of the labels that are some row's, or some row's answer: sklearn's f1_score(average="macro").
  [[nodiscard]] double macro_f1() const;

  struct Score {
    int64_t rows = 0;      // of this class
    int64_t answered = 0;  // classified as it
    double precision = 0, recall = 0, f1 = 0;
  };
  [[nodiscard]] Score score(size_t label) const;

 private:
  [[nodiscard]] size_t size() const { return labels_.size(); }

  std::vector<std::string> labels_;
  std::vector<int64_t> counts_;  // [reference, answer]
  int64_t rows_ = 0;
};

// The first of the largest.
size_t largest(const float* logits, size_t count);

// Section of a report: the matrix (of the most frequent labels where there are many), precision, recall and F1.
std::string confusion_section(const Confusion& confusion);

}  // namespace graft::training
