#include "serving/pooler.h"

namespace graft::serving {

bool Pooler::every_row() const {
  return pooling_ == Pooling::kMean || (head_ != nullptr && head_->kind == runtime::ClassificationHead::Kind::kToken);
}

void Pooler::add(int32_t start, std::span<const float> rows, size_t hidden) {
  for (size_t row = 0; (row + 1) * hidden <= rows.size(); ++row) {
    const int32_t position = start + static_cast<int32_t>(row);
    if (position < rows_) continue;
    rows_ = position + 1;
    const std::span<const float> values = rows.subspan(row * hidden, hidden);
    if (pooling_ == Pooling::kMean) {
      sum_.resize(hidden);
      for (size_t i = 0; i < hidden; ++i) sum_[i] += values[i];
    } else if (head_ != nullptr) {
      const std::vector<float> logits = apply_head(*head_, values);
      kept_.insert(kept_.end(), logits.begin(), logits.end());
    } else {
      kept_.assign(values.begin(), values.end());
    }
  }
}

std::vector<float> Pooler::result() const {
  if (pooling_ != Pooling::kMean) return kept_;
  std::vector<float> mean;
  for (const double sum : sum_) mean.push_back(static_cast<float>(sum / rows_));
  return mean;
}

}  // namespace graft::serving
