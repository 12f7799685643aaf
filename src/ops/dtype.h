#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include "ops/cpu/kernels.h"

namespace graft::ops {

// The tensor's memory as the kernels' element type.
template <class T>
const T* data(const at::Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}
template <class T>
T* mutable_data(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

inline const cpu::TypedKernels& typed_kernels(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? cpu::kernels().bf16 : cpu::kernels().f32;
}

// Pointer to element `index` of a tensor of either dtype.
inline const char* element(const at::Tensor& t, int64_t index) {
  return static_cast<const char*>(t.const_data_ptr()) + index * static_cast<int64_t>(t.element_size());
}
inline char* mutable_element(const at::Tensor& t, int64_t index) {
  return static_cast<char*>(t.mutable_data_ptr()) + index * static_cast<int64_t>(t.element_size());
}

}  // namespace graft::ops
