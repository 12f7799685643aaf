#include "recipe/batch.h"

namespace graft::recipe {

PackedBatch pack(std::span<const Example> examples, std::span<const int32_t> indices) {
  PackedBatch batch;
  size_t total = 0;
  for (const int32_t index : indices) total += examples[static_cast<size_t>(index)].tokens.size();
  batch.tokens.reserve(total);
  batch.labels.reserve(total);
  batch.cu_seqlens.reserve(indices.size() + 1);
  batch.cu_seqlens.push_back(0);
  for (const int32_t index : indices) {
    const Example& example = examples[static_cast<size_t>(index)];
    const size_t length = example.tokens.size();
    batch.tokens.insert(batch.tokens.end(), example.tokens.begin(), example.tokens.end());
    for (size_t i = 0; i < length; ++i) {
      const bool learned = i + 1 < length && example.supervised[i + 1] != 0;
      batch.labels.push_back(learned ? example.tokens[i + 1] : kIgnoreLabel);
    }
    if (example.label >= 0 && length > 0) batch.labels.back() = example.label;
    batch.cu_seqlens.push_back(static_cast<int32_t>(batch.tokens.size()));
  }
  return batch;
}

}  // namespace graft::recipe
