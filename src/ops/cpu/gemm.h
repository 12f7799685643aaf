#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/cpu/kernels.h"

// Matrix products over packed weights, in parallel, torch-free. Template argument T: float or bf16 (the type of the
// activations and of the weights; sums are float32). See kernels.h for the layout and the promise of invariance.
namespace graft::ops::cpu {

// One packed matrix among those that share an input: W [n, k], whose products are columns [column, column + n).
// Several parts make a fused projection (q, k and v; gate and up).
struct WeightPart {
  const void* packed = nullptr;
  int64_t n = 0;
  int64_t column = 0;
};

// Extra terms of a product for a range of rows: c[row, part] += t[row, :] . b^T. This is how an adapter is grafted
// onto the rows of its sequences: t = scale * x A^T comes from shrink().
struct Graft {
  int64_t row_begin = 0, row_end = 0;
  int64_t part = 0;
  const void* t = nullptr;  // [all rows, rank], row stride ldt: indexed by the absolute row
  int64_t ldt = 0;
  const void* b = nullptr;  // packed [n of the part, rank]
  int64_t rank = 0;         // even
};

// One low-rank projection of a range of rows: t[rows, 0 .. n) = alpha * x[rows] A^T, A packed [n, k].
struct Shrink {
  int64_t row_begin = 0, row_end = 0;
  const void* packed = nullptr;
  int64_t n = 0, k = 0;
  const void* x = nullptr;  // indexed by the absolute row
  int64_t ldx = 0;
  float alpha = 1.0F;
  const float* alphas = nullptr;  // [n rounded up to 16]: one for each column, instead of alpha
  void* t = nullptr;              // type T, indexed by the absolute row, already at the first column
  int64_t ldt = 0;
};

struct ProductArgs {
  const void* a = nullptr;  // [m, k]
  int64_t lda = 0, m = 0, k = 0;
  WeightFormat format = WeightFormat::kDense;  // of the parts; grafts are always dense
  std::span<const WeightPart> parts;
  std::span<const Graft> grafts;    // at most one for a row and a part; row ranges are equal or disjoint
  std::span<const Shrink> shrinks;  // what the grafts' t comes from, if it has not been computed
  const float* add = nullptr;       // [m, columns]: added after the product
  int64_t ldadd = 0;
  void* c = nullptr;  // [m, columns]
  int64_t ldc = 0;
  bool c_is_float = false;
};

// c = a W^T (+ grafts) (+ add)
template <class T>
void product(const ProductArgs& args);

// c [m, k] = sum over parts of a[:, part] W_part (+ t . b^T) (+ add): the gradient of product() by its input. Dense
// parts only.
// a is [m, columns]; every part's n is even. grafts have part 0 and b packed as [k, rank].
template <class T>
void product_transposed(const ProductArgs& args);

// All of them in one parallel region.
template <class T>
void shrink(std::span<const Shrink> jobs);

// c [r, n] += left^T right over m rows: left_t is [r, m_even] row-major (the transpose of left, zero-padded to an even
// number of columns), right [m, n]. The gradient of a low-rank factor.
template <class T>
void accumulate_outer(const T* left_t, int64_t ld_left, int64_t r, const T* right, int64_t ld_right, int64_t m,
                      int64_t n, float* c, int64_t ldc);

// Row-major [n, k] of float32 -> packed of T.
template <class T>
void pack(const float* w, int64_t ldw, int64_t n, int64_t k, T* packed);
// The same from the transpose: src [k, n] row-major, row stride lds.
template <class T>
void pack_transpose(const float* src, int64_t lds, int64_t n, int64_t k, T* packed);
// Row `row` of a packed [n, k] as float32 -> out [k].
template <class T>
void unpack_row(const T* packed, int64_t k, int64_t row, float* out);

}  // namespace graft::ops::cpu
