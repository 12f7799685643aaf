#include "ops/embedding.h"

#include <ATen/ops/empty.h>

#include "ops/rows.h"

namespace graft::ops {

namespace {

template <class T>
void gather(std::span<const int32_t> tokens, const LinearWeight& table, float* out) {
  const auto* packed = static_cast<const T*>(table.parts[0].packed);
  for_rows(static_cast<int64_t>(tokens.size()), [&](int64_t row) {
    cpu::unpack_row<T>(packed, table.in_features, tokens[static_cast<size_t>(row)], out + row * table.in_features);
  });
}

}  // namespace

at::Tensor embedding(std::span<const int32_t> tokens, const LinearWeight& table) {
  for (const int32_t token : tokens) {
    TORCH_CHECK(token >= 0 && token < table.out_features, "[embedding] token ", token, " is outside the vocabulary");
  }
  at::Tensor out =
      at::empty({static_cast<int64_t>(tokens.size()), table.in_features}, at::TensorOptions().dtype(at::kFloat));
  if (table.dtype == at::kBFloat16) {
    gather<cpu::bf16>(tokens, table, out.mutable_data_ptr<float>());
  } else {
    gather<float>(tokens, table, out.mutable_data_ptr<float>());
  }
  return out;
}

}  // namespace graft::ops
