#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/decoder.h"
#include "runtime/step_model.h"

namespace graft::runtime {

// An adapter as the executor takes it.
class LoadedAdapter : public AdapterWeights {
 public:
  explicit LoadedAdapter(model::Adapter adapter, std::optional<ClassificationHead> head = {})
      : adapter_(std::move(adapter)), head_(std::move(head)) {}
  [[nodiscard]] int64_t bytes() const override {
    return adapter_.bytes() + (head_ ? static_cast<int64_t>(head_->weight.size() * sizeof(float)) : 0);
  }
  [[nodiscard]] const ClassificationHead* head() const override { return head_ ? &*head_ : nullptr; }
  [[nodiscard]] const model::Adapter& adapter() const { return adapter_; }

 private:
  model::Adapter adapter_;
  std::optional<ClassificationHead> head_;
};

struct ExecutorOptions {
  int64_t kv_tokens = 0;  // positions in the KV cache, rounded up to whole blocks
  bool kv_int8 = false;   // keys and values of 8 bits, in place of the model's dtype
};

// The step on a decoder: sorts the slices by adapter, runs one ragged forward pass over the paged cache.
Result<std::unique_ptr<StepModel>> make_executor(std::shared_ptr<const model::Decoder> decoder,
                                                 const ExecutorOptions& options);

// Bytes of KV cache for one position.
int64_t kv_bytes_per_token(const formats::ModelSpec& spec, at::ScalarType dtype, bool kv_int8 = false);

}  // namespace graft::runtime
