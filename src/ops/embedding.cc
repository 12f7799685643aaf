#include "ops/embedding.h"

#include <ATen/ops/empty.h>

#include "ops/rows.h"

namespace graft::ops {

at::Tensor embedding(std::span<const int32_t> tokens, const LinearWeight& table) {
  for (const int32_t token : tokens) {
    TORCH_CHECK(token >= 0 && token < table.out_features, "[embedding] token ", token, " is outside the vocabulary");
  }
  at::Tensor out =
      at::empty({static_cast<int64_t>(tokens.size()), table.in_features}, at::TensorOptions().dtype(at::kFloat));
  auto* to = out.mutable_data_ptr<float>();
  for_rows(static_cast<int64_t>(tokens.size()), [&](int64_t row) {
    read_row(table, table.parts[0], tokens[static_cast<size_t>(row)], to + row * table.in_features);
  });
  return out;
}

}  // namespace graft::ops
