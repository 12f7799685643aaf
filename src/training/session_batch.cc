#include "training/session_batch.h"

#include <fmt/format.h>

namespace graft::training {

LabelledRows labelled_rows(const PackedBatch& batch) {
  LabelledRows out;
  for (size_t i = 0; i < batch.labels.size(); ++i) {
    if (batch.labels[i] == kIgnoreLabel) continue;
    out.rows.push_back(static_cast<int64_t>(i));
    out.labels.push_back(batch.labels[i]);
  }
  return out;
}

Status check_batch(const PackedBatch& batch, const formats::ModelSpec& spec) {
  if (batch.tokens.empty() || batch.labels.size() != batch.tokens.size() || batch.cu_seqlens.size() < 2 ||
      batch.cu_seqlens.front() != 0 || batch.cu_seqlens.back() != static_cast<int32_t>(batch.tokens.size())) {
    return internal_error("a packed batch whose tokens, labels and cu_seqlens do not belong together");
  }
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    const int32_t length = batch.cu_seqlens[i + 1] - batch.cu_seqlens[i];
    if (length <= 0 || length > spec.max_position) {
      return invalid(fmt::format("a sequence of {} tokens: the model takes 1 to {}", length, spec.max_position));
    }
  }
  return {};
}

}  // namespace graft::training
