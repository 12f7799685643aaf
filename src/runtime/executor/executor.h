#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/decoder.h"
#include "runtime/step_model.h"

namespace graft::runtime {

// An adapter as the executor takes it.
class LoadedAdapter : public AdapterWeights {
 public:
  explicit LoadedAdapter(model::Adapter adapter) : adapter_(std::move(adapter)) {}
  [[nodiscard]] int64_t bytes() const override { return adapter_.bytes(); }
  [[nodiscard]] const model::Adapter& adapter() const { return adapter_; }

 private:
  model::Adapter adapter_;
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
