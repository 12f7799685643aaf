// Included once per instruction set, by kernels_<isa>.cc, with GRAFT_ISA_NAMESPACE and GRAFT_ISA_ENUM defined.
// Everything lives in that namespace, so that no inline function compiled for one instruction set can be linked into
// another. Compiled with -ffp-contract=off: a multiply-add is written as fma() where it is meant.
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "ops/cpu/kernels.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/quant.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft::ops::cpu::GRAFT_ISA_NAMESPACE {

// Each builds on those before it.
// clang-format off
#include "ops/cpu/impl/vector.inc"
#include "ops/cpu/impl/tile.inc"
#include "ops/cpu/impl/packing.inc"
#include "ops/cpu/impl/transpose.inc"
#include "ops/cpu/impl/quant_tile.inc"
#include "ops/cpu/impl/dequantise.inc"
#include "ops/cpu/impl/elementwise.inc"
#include "ops/cpu/impl/attention.inc"
#include "ops/cpu/impl/attention_backward.inc"
// clang-format on

template <class T>
constexpr TypedKernels typed_table() {
  TypedKernels table{};
  fill_tiles<T>(table);
  fill_narrow_tiles<T>(table);
  table.pack_rows = pack_rows<T>;
  table.pack_columns = pack_columns<T>;
  table.pack_transposed = pack_transposed<T>;
  table.transpose = transpose<T>;
  table.from_float = from_float_row<T>;
  table.quantise_row = quantise_row<T>;
  table.dequantise_int8 = dequantise_int8<T>;
  table.dequantise_int4 = dequantise_int4<T>;
  table.attention = attention<T>;
  table.attention_backward = attention_backward<T>;
  table.rms_norm = rms_norm<T>;
  table.rms_norm_backward = rms_norm_backward<T>;
  table.silu_mul = silu_mul<T>;
  table.silu_mul_backward = silu_mul_backward<T>;
  table.rope = rope<T>;
  return table;
}

extern const Kernels kTable;
const Kernels kTable = {GRAFT_ISA_ENUM, typed_table<float>(), typed_table<bf16>(), quant_table(), cross_entropy};

}  // namespace graft::ops::cpu::GRAFT_ISA_NAMESPACE
