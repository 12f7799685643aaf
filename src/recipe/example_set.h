#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "recipe/example_file.h"

namespace graft::recipe {

// The examples of one split, in the order of the data file. They lie on disk; memory holds their lengths and places.
class ExampleSet {
 public:
  ExampleSet() = default;
  explicit ExampleSet(std::shared_ptr<const ExampleFile> file) : file_(std::move(file)) {}

  void add(int64_t number, const StoredExample& entry) {
    places_.push_back(static_cast<int32_t>(number));
    lengths_.push_back(entry.tokens);
    if (entry.label >= 0) labels_.push_back(entry.label);
    tokens_ += entry.tokens;
    learned_ += entry.learned;
  }

  [[nodiscard]] size_t size() const { return places_.size(); }
  [[nodiscard]] bool empty() const { return places_.empty(); }
  [[nodiscard]] int64_t tokens() const { return tokens_; }
  [[nodiscard]] int64_t learned() const { return learned_; }  // of these, tokens with loss
  [[nodiscard]] const std::vector<int32_t>& lengths() const { return lengths_; }
  [[nodiscard]] std::vector<int32_t>& labels() { return labels_; }  // of each; empty where there are none
  [[nodiscard]] const std::vector<int32_t>& labels() const { return labels_; }
  // From any thread. Errors: what the disk refuses; examples that were damaged meanwhile.
  [[nodiscard]] Result<Example> read(size_t index) const {
    auto example = file_->read(places_[index]);
    if (example.ok() && !labels_.empty()) example->label = labels_[index];
    return example;
  }
  [[nodiscard]] int64_t place(size_t index) const { return places_[index]; }  // in the file

 private:
  std::shared_ptr<const ExampleFile> file_;
  std::vector<int32_t> places_;   // in the file
  std::vector<int32_t> lengths_;  // in tokens
  std::vector<int32_t> labels_;
  int64_t tokens_ = 0;
  int64_t learned_ = 0;
};

}  // namespace graft::recipe
