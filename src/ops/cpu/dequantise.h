#pragma once

#include <cstdint>

#include "ops/cpu/gemm.h"

namespace graft::ops::cpu {

// Quantised panels of W [n, k] -> the dense panels that product() and product_transposed() read, packed_elements(n, k)
// of T (float or bf16: rounded). What a gradient through quantised weights is computed with.
template <class T>
void dequantise_panels(WeightFormat format, const void* quantised, int64_t n, int64_t k, T* dense);

}  // namespace graft::ops::cpu
