#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>

#include <cstdint>
#include <vector>

// For tests.
namespace graft::ops {

inline at::Tensor random(std::vector<int64_t> shape, double scale = 1.0) {
  return at::randn(shape, at::TensorOptions().dtype(at::kFloat)) * scale;
}

// Largest difference relative to the largest magnitude.
inline double difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().to(at::kDouble);
  const at::Tensor y = b.detach().to(at::kDouble);
  return ((x - y).abs().max() / (y.abs().max() + 1e-12)).item<double>();
}

}  // namespace graft::ops
