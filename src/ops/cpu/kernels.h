#pragma once

#include <cstdint>

#include "ops/cpu/bf16.h"

// The kernels that depend on the instruction set, as one table of functions. kernels_impl.h is compiled once per
// instruction set; kernels() hands out the best table that the machine can run.
//
// Layout of a packed matrix W [n, k] ("panels"): 16 rows of W make a panel, zero-padded to 16.
//   bfloat16: [ceil(n/16)][k/2][16][2], k even: what vdpbf16ps multiplies, pairs along k beside each other
//   float32:  [ceil(n/16)][k][16]
//
// Invariance: element (row, column) of a product is one chain of multiply-adds over k in order, whatever the number
// of rows and columns, so that no result depends on its neighbours.
namespace graft::ops::cpu {

inline constexpr int64_t kPanel = 16;     // rows of W in a panel, positions in a KV block
inline constexpr int kTileRows = 6;       // rows of the largest register tile
inline constexpr int kTilePanels = 4;     // panels of the largest register tile
inline constexpr int kNarrowRows = 12;    // rows of the largest tile of one panel
inline constexpr int64_t kKeyGroup = 64;  // key positions in one step of the attention reduction

enum class Isa { kGeneric, kAvx2, kAvx512Bf16 };

// One register tile: c = alpha * (init + a . b + a2 . b2) + add, over `k` then `k2` in order. A chain that is stored
// as float32 and taken up again through `init` gives the same bits as one that was never interrupted.
struct TileArgs {
  const void* a = nullptr;  // [rows, k], row stride lda (elements)
  int64_t lda = 0;
  const void* b[kTilePanels] = {};  // each [k] of a panel
  int64_t k = 0;
  const void* a2 = nullptr;  // [rows, k2]
  int64_t lda2 = 0;
  const void* b2[kTilePanels] = {};
  int64_t k2 = 0;
  const float* init = nullptr;  // [rows, 16 * panels] or nullptr
  int64_t ldinit = 0;
  float alpha = 1.0F;
  const float* alphas = nullptr;  // [16 * panels]: one for each column, instead of alpha
  const float* add = nullptr;     // [rows, n] or nullptr
  int64_t ldadd = 0;
  const void* ahead = nullptr;  // what will be needed soon: asked for from memory while the tile is computed
  int64_t ahead_bytes = 0;
  void* c = nullptr;  // [rows, n]
  int64_t ldc = 0;
  bool c_is_float = false;  // else c has the type of a and b
  int n = 0;                // columns to store, at most 16 * panels
};
using TileFn = void (*)(const TileArgs&);

// How a projection's weights are stored: in the element type of the activations, or quantised (see quant.h).
enum class WeightFormat { kDense, kInt8, kInt4 };

// Along k, weights and activations are quantised in groups of so many, each with its own scale.
inline constexpr int64_t kInt8Group = 64, kInt4Group = 32;
constexpr int64_t quant_group(WeightFormat format) { return format == WeightFormat::kInt8 ? kInt8Group : kInt4Group; }

// One register tile over quantised weights: c = a . b over all groups, float32.
struct QuantTileArgs {
  const int8_t* q = nullptr;  // activations [rows, groups * group], row stride ldq
  int64_t ldq = 0;
  const float* scale = nullptr;  // of each group, [rows, groups], row stride ldg
  const int32_t* sum = nullptr;  // of each group's q, likewise
  int64_t ldg = 0;
  const void* b[kTilePanels] = {};  // records of each panel
  int64_t groups = 0;
  int64_t near = 0;             // bytes from what is read of a panel to what is asked for from memory; 0: nothing
  const void* ahead = nullptr;  // as of TileArgs
  int64_t ahead_bytes = 0;
  const float* add = nullptr;  // [rows, n] or nullptr
  int64_t ldadd = 0;
  void* c = nullptr;  // [rows, n]
  int64_t ldc = 0;
  bool c_is_float = true;  // else bfloat16
  int n = 0;               // columns to store, at most 16 * panels
};
using QuantTileFn = void (*)(const QuantTileArgs&);

struct QuantKernels {
  QuantTileFn int8_tile[kTileRows][kTilePanels];  // [rows - 1][panels - 1]
  QuantTileFn int4_tile[kTileRows][kTilePanels];
};

// Attention of a run of query rows of one head over the paged keys of its sequence.
struct AttentionArgs {
  const void* q = nullptr;  // row i at q + i * q_stride (elements), head_dim long
  int64_t q_stride = 0;
  int rows = 0;
  int64_t position = 0;           // absolute position of row 0
  int64_t position_step = 1;      // 1: rows are consecutive tokens; 0: heads of one token
  const void* k_cache = nullptr;  // already offset to the kv head: block b at k_cache + b * block_stride
  const void* v_cache = nullptr;
  int64_t block_stride = 0;  // elements
  // Where the cache is int8, the scale of each position: of block b at k_scales + b * scale_stride, 16 of them.
  // Elements lie in the order of T's panels all the same.
  const float* k_scales = nullptr;
  const float* v_scales = nullptr;
  int64_t scale_stride = 0;
  const int32_t* blocks = nullptr;
  int64_t head_dim = 0;
  float scale = 1.0F;
  void* out = nullptr;  // row i at out + i * out_stride
  int64_t out_stride = 0;
  float* lse = nullptr;  // row i at lse + i * lse_stride: log of the sum of exponentials; may be nullptr
  int64_t lse_stride = 0;
};

// Backward of attention for one sequence and one kv head with its group of query heads. Everything row-major.
struct AttentionBackwardArgs {
  int64_t length = 0;
  int64_t head_dim = 0;
  int group = 1;  // query heads of this kv head, beside each other
  float scale = 1.0F;
  const void *q = nullptr, *k = nullptr, *v = nullptr;  // rotated q [length, group, head_dim], k, v [length, head_dim]
  int64_t qkv_stride = 0;                               // elements between tokens
  const void *out = nullptr, *dout = nullptr;           // [length, group, head_dim]
  int64_t out_stride = 0;
  const float* lse = nullptr;  // [length, group]
  int64_t lse_stride = 0;
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;
  int64_t dqkv_stride = 0;
};

// The functions of one element type.
struct TypedKernels {
  TileFn tile[kTileRows][kTilePanels];  // [rows - 1][panels - 1]
  TileFn narrow_tile[kNarrowRows];      // [rows - 1], of one panel

  // Packs row-major rows into panels. src [n, k], row stride lds -> one panel of min(n, 16) rows.
  void (*pack_rows)(const void* src, int64_t lds, int64_t n, int64_t k, void* panel);
  // Packs the transpose: src [k, n] row-major, columns become panel rows; odd k is padded with a zero row.
  void (*pack_columns)(const void* src, int64_t lds, int64_t n, int64_t k, void* panel);
  // Repacks a packed W [n, k] for products with W^T: columns [16 j, 16 j + 16) of W, rows [n0, n0 + rows) -> a panel
  // over rows. n0 and rows are multiples of 16 (rows beyond n are the zeros of the padding).
  void (*pack_transposed)(const void* packed, int64_t k, int64_t n0, int64_t rows, int64_t j, void* panel);

  // src [rows, columns] row-major, row stride lds -> out [columns, ldo], zero from column `rows` on.
  void (*transpose)(const void* src, int64_t lds, int64_t rows, int64_t columns, int64_t ldo, void* out);
  void (*from_float)(const float* x, int64_t n, void* y);  // rounded to nearest even

  void (*attention)(const AttentionArgs&);
  void (*attention_backward)(const AttentionBackwardArgs&);

  // x [k] -> q [groups * group], zero beyond k, and of each group the scale and the sum of q. x = q * scale, rounded to
  // nearest even. group: 32 or 64.
  void (*quantise_row)(const void* x, int64_t k, int64_t group, int64_t groups, int8_t* q, float* scale, int32_t* sum);

  // One quantised panel of W [16, k], records as in quant.h -> a dense one.
  void (*dequantise_int8)(const void* records, int64_t k, void* panel);
  void (*dequantise_int4)(const void* records, int64_t k, void* panel);

  // y = x * rstd * w, rstd = 1 / sqrt(mean(x^2) + eps). x, w [n] float32.
  float (*rms_norm)(const float* x, const float* w, float eps, int64_t n, void* y);
  // dx = d/dx of the above (+ add, where add is not null).
  void (*rms_norm_backward)(const void* dy, const float* x, const float* w, float rstd, int64_t n, const float* add,
                            float* dx);
  void (*silu_mul)(const void* gate, const void* up, int64_t n, void* y);
  // Also y of the above, where it is not null.
  void (*silu_mul_backward)(const void* dy, const void* gate, const void* up, int64_t n, void* dgate, void* dup,
                            void* y);
  // Rotates pairs (x[i], x[i + n/2]) by the angles whose cosines and sines are given; sign -1 turns back. In place.
  void (*rope)(void* x, const float* cos, const float* sin, int64_t n, float sign);
};

struct Kernels {
  Isa isa;
  TypedKernels f32;
  TypedKernels bf16;
  QuantKernels quant;
  // Cross-entropy of one row of logits. Returns the loss; with `dlogits` writes scale * (softmax - onehot) there.
  float (*cross_entropy)(const float* logits, int64_t n, int64_t label, float scale, void* dlogits, bool dlogits_float);
};

const Kernels& kernels();             // the best for this machine; GRAFT_ISA=generic|avx2|avx512 asks for less
const Kernels* kernels_for(Isa isa);  // nullptr where the machine or the build lacks it
const char* isa_name(Isa isa);

template <class T>
const TypedKernels& typed_kernels();
template <>
inline const TypedKernels& typed_kernels<float>() {
  return kernels().f32;
}
template <>
inline const TypedKernels& typed_kernels<bf16>() {
  return kernels().bf16;
}

// Elements of the packed form of [n, k].
inline int64_t panel_elements(int64_t k) { return (k + (k & 1)) * kPanel; }
inline int64_t packed_elements(int64_t n, int64_t k) { return (n + kPanel - 1) / kPanel * panel_elements(k); }

}  // namespace graft::ops::cpu
