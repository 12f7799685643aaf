#pragma once

#include <cstdint>

namespace graft::ops::cpu {

// from [rows, columns], row stride ld -> to [columns, rows], row stride ld_to, in parallel; with an odd number of rows
// the element behind each row of `to` becomes zero (ld_to allows it). T: float or bf16.
template <class T>
void transpose(const T* from, int64_t ld, int64_t rows, int64_t columns, T* to, int64_t ld_to);

// A row stride of at least `rows`, even, for which rows of a transposed matrix do not fall on the same cache lines.
constexpr int64_t transposed_stride(int64_t rows) { return (rows + 31) / 64 * 64 + 32; }

}  // namespace graft::ops::cpu
