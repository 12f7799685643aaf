#include "ops/cpu/transpose.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/bf16.h"
#include "ops/cpu/parallel.h"

namespace graft::ops::cpu {

namespace {

// A square of N x N elements in N vectors. Interleaving the vectors of the upper half with those of the lower one turns
// the bits of (row, column) by one place; log2(N) times, and they have changed places.
template <class T>
struct Square;

template <>
struct Square<bf16> {
  static constexpr int64_t kSize = 8;
  using Vector = uint16_t __attribute__((vector_size(16)));
  static Vector low(Vector a, Vector b) { return __builtin_shuffle(a, b, Vector{0, 8, 1, 9, 2, 10, 3, 11}); }
  static Vector high(Vector a, Vector b) { return __builtin_shuffle(a, b, Vector{4, 12, 5, 13, 6, 14, 7, 15}); }
};

template <>
struct Square<float> {
  static constexpr int64_t kSize = 4;
  using Vector = uint32_t __attribute__((vector_size(16)));
  static Vector low(Vector a, Vector b) { return __builtin_shuffle(a, b, Vector{0, 4, 1, 5}); }
  static Vector high(Vector a, Vector b) { return __builtin_shuffle(a, b, Vector{2, 6, 3, 7}); }
};

template <class T>
void transpose_square(const T* from, int64_t ld, T* to, int64_t ld_to) {
  using S = Square<T>;
  constexpr int64_t n = S::kSize;
  typename S::Vector a[n];
  typename S::Vector b[n];
#pragma GCC unroll 8
  for (int64_t i = 0; i < n; ++i) std::memcpy(&a[i], from + i * ld, sizeof a[i]);
#pragma GCC unroll 3
  for (int64_t round = 1; round < n; round *= 2) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < n / 2; ++i) {
      b[2 * i] = S::low(a[i], a[i + n / 2]);
      b[2 * i + 1] = S::high(a[i], a[i + n / 2]);
    }
#pragma GCC unroll 8
    for (int64_t i = 0; i < n; ++i) a[i] = b[i];
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * ld_to, &a[i], sizeof a[i]);
}

// Rows [begin, end) of `from`, all columns [first, last).
template <class T>
void transpose_block(const T* from, int64_t ld, int64_t begin, int64_t end, int64_t first, int64_t last, T* to,
                     int64_t ld_to) {
  constexpr int64_t n = Square<T>::kSize;
  const int64_t whole_rows = begin + (end - begin) / n * n;
  const int64_t whole_columns = first + (last - first) / n * n;
  for (int64_t row = begin; row < whole_rows; row += n) {
    for (int64_t column = first; column < whole_columns; column += n) {
      transpose_square(from + row * ld + column, ld, to + column * ld_to + row, ld_to);
    }
  }
  const auto copy = [&](int64_t row, int64_t column) { to[column * ld_to + row] = from[row * ld + column]; };
  for (int64_t column = whole_columns; column < last; ++column) {
    for (int64_t row = begin; row < whole_rows; ++row) copy(row, column);
  }
  for (int64_t row = whole_rows; row < end; ++row) {
    for (int64_t column = first; column < last; ++column) copy(row, column);
  }
}

}  // namespace

template <class T>
void transpose(const T* from, int64_t ld, int64_t rows, int64_t columns, T* to, int64_t ld_to) {
  constexpr int64_t kBlock = 64;
  const int64_t down = (rows + kBlock - 1) / kBlock;
  const int64_t across = (columns + kBlock - 1) / kBlock;
  parallel_for(down * across, [&](int64_t task) {
    const int64_t row = task / across * kBlock;
    const int64_t column = task % across * kBlock;
    transpose_block(from, ld, row, std::min(rows, row + kBlock), column, std::min(columns, column + kBlock), to, ld_to);
  });
  if (rows % 2 == 0) return;
  for (int64_t column = 0; column < columns; ++column) to[column * ld_to + rows] = T{};
}

template void transpose<float>(const float*, int64_t, int64_t, int64_t, float*, int64_t);
template void transpose<bf16>(const bf16*, int64_t, int64_t, int64_t, bf16*, int64_t);

}  // namespace graft::ops::cpu
