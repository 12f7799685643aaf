#include "ops/weight.h"

#include <ATen/ops/empty.h>

#include "ops/cpu/dequantise.h"
#include "ops/cpu/quant.h"

namespace graft::ops {

void pack_rows(const LinearWeight& weight, const float* from, int64_t n, int64_t k, void* to) {
  if (weight.format != cpu::WeightFormat::kDense) {
    cpu::quantise_weights(weight.format, from, n, k, to);
  } else if (weight.dtype == at::kBFloat16) {
    cpu::pack<cpu::bf16>(from, k, n, k, static_cast<cpu::bf16*>(to));
  } else {
    cpu::pack<float>(from, k, n, k, static_cast<float*>(to));
  }
}

int64_t stored_bytes(const LinearWeight& weight, int64_t n, int64_t k) {
  if (weight.format != cpu::WeightFormat::kDense) return cpu::quant_bytes(weight.format, n, k);
  return cpu::packed_elements(n, k) * (weight.dtype == at::kBFloat16 ? 2 : 4);
}

void read_row(const LinearWeight& weight, const cpu::WeightPart& part, int64_t row, float* out) {
  if (weight.format != cpu::WeightFormat::kDense) {
    cpu::dequantise_row(weight.format, part.packed, weight.in_features, row, out);
  } else if (weight.dtype == at::kBFloat16) {
    cpu::unpack_row(static_cast<const cpu::bf16*>(part.packed), weight.in_features, row, out);
  } else {
    cpu::unpack_row(static_cast<const float*>(part.packed), weight.in_features, row, out);
  }
}

LinearWeight dequantised(const LinearWeight& weight) {
  LinearWeight dense = weight;
  dense.format = cpu::WeightFormat::kDense;
  int64_t bytes = 0;
  for (const cpu::WeightPart& part : weight.parts) bytes += stored_bytes(dense, part.n, weight.in_features);
  const at::Tensor storage = at::empty({bytes}, at::TensorOptions().dtype(at::kByte));
  auto* to = storage.mutable_data_ptr<uint8_t>();
  for (cpu::WeightPart& part : dense.parts) {
    if (weight.dtype == at::kBFloat16) {
      cpu::dequantise_panels(weight.format, part.packed, part.n, weight.in_features,
                             static_cast<cpu::bf16*>(static_cast<void*>(to)));
    } else {
      cpu::dequantise_panels(weight.format, part.packed, part.n, weight.in_features,
                             static_cast<float*>(static_cast<void*>(to)));
    }
    part.packed = to;
    to += stored_bytes(dense, part.n, weight.in_features);
  }
  dense.owner = std::make_shared<at::Tensor>(storage);
  return dense;
}

LinearWeight pack_linear(const std::vector<at::Tensor>& parts, at::ScalarType dtype, cpu::WeightFormat format) {
  LinearWeight weight;
  weight.dtype = dtype;
  weight.format = format;
  weight.in_features = parts.at(0).size(1);
  int64_t bytes = 0;
  for (const at::Tensor& part : parts) bytes += stored_bytes(weight, part.size(0), weight.in_features);
  const at::Tensor storage = at::empty({bytes}, at::TensorOptions().dtype(at::kByte));
  auto* to = storage.mutable_data_ptr<uint8_t>();
  for (const at::Tensor& part : parts) {
    const at::Tensor dense = part.to(at::kFloat).contiguous();
    pack_rows(weight, dense.const_data_ptr<float>(), dense.size(0), dense.size(1), to);
    weight.parts.push_back({to, dense.size(0), weight.out_features});
    weight.out_features += dense.size(0);
    to += stored_bytes(weight, dense.size(0), weight.in_features);
  }
  weight.owner = std::make_shared<at::Tensor>(storage);
  return weight;
}

at::Tensor unpack_linear(const LinearWeight& weight) {
  at::Tensor out = at::empty({weight.out_features, weight.in_features}, at::TensorOptions().dtype(at::kFloat));
  for (const cpu::WeightPart& part : weight.parts) {
    for (int64_t row = 0; row < part.n; ++row) {
      read_row(weight, part, row, out.mutable_data_ptr<float>() + (part.column + row) * weight.in_features);
    }
  }
  return weight.format == cpu::WeightFormat::kDense ? out.to(weight.dtype) : out;
}

}  // namespace graft::ops
