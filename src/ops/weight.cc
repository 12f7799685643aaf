#include "ops/weight.h"

#include <ATen/ops/empty.h>

#include <cstring>

namespace graft::ops {

namespace {

template <class T>
void pack_part(const at::Tensor& dense, void* to) {
  cpu::pack<T>(dense.const_data_ptr<float>(), dense.size(1), dense.size(0), dense.size(1), static_cast<T*>(to));
}

template <class T>
void unpack_parts(const LinearWeight& weight, at::Tensor& out) {
  for (const cpu::WeightPart& part : weight.parts) {
    for (int64_t row = 0; row < part.n; ++row) {
      cpu::unpack_row<T>(static_cast<const T*>(part.packed), weight.in_features, row,
                         out.mutable_data_ptr<float>() + (part.column + row) * weight.in_features);
    }
  }
}

}  // namespace

LinearWeight pack_linear(const std::vector<at::Tensor>& parts, at::ScalarType dtype) {
  LinearWeight weight;
  weight.dtype = dtype;
  weight.in_features = parts.at(0).size(1);
  const int64_t element = dtype == at::kBFloat16 ? 2 : 4;
  int64_t bytes = 0;
  for (const at::Tensor& part : parts) bytes += cpu::packed_elements(part.size(0), weight.in_features) * element;
  const at::Tensor storage = at::empty({bytes}, at::TensorOptions().dtype(at::kByte));
  auto* to = storage.mutable_data_ptr<uint8_t>();
  for (const at::Tensor& part : parts) {
    const at::Tensor dense = part.to(at::kFloat).contiguous();
    if (dtype == at::kBFloat16) {
      pack_part<cpu::bf16>(dense, to);
    } else {
      pack_part<float>(dense, to);
    }
    weight.parts.push_back({to, dense.size(0), weight.out_features});
    weight.out_features += dense.size(0);
    to += cpu::packed_elements(dense.size(0), weight.in_features) * element;
  }
  weight.owner = std::make_shared<at::Tensor>(storage);
  return weight;
}

at::Tensor unpack_linear(const LinearWeight& weight) {
  at::Tensor out = at::empty({weight.out_features, weight.in_features}, at::TensorOptions().dtype(at::kFloat));
  if (weight.dtype == at::kBFloat16) {
    unpack_parts<cpu::bf16>(weight, out);
  } else {
    unpack_parts<float>(weight, out);
  }
  return out.to(weight.dtype);
}

}  // namespace graft::ops
