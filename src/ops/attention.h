#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace graft::ops {

inline constexpr int64_t kKvBlockSize = 16;  // positions in a KV block

struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;  // a multiple of 16, at most 256
  float scale = 1.0F;    // usually 1 / sqrt(head_dim)
};

// Cosines and sines of every position, as Hugging Face computes them in float32: [positions, head_dim / 2] each.
struct RopeTable {
  at::Tensor cos, sin;
  int64_t half = 0;  // head_dim / 2
};

// Keys and values of one layer for all sequences: `blocks` blocks of 16 positions, in the kernels' layout.
struct KvLayer {
  at::Tensor k, v;                // [blocks, kv_heads, head_dim * 16] of the model's dtype, or int8
  at::Tensor k_scales, v_scales;  // of each position's head where they are int8: [blocks, kv_heads, 16] float32
};
// dtype: the model's, or at::kChar for int8 (half the memory of bfloat16; keys and values to 1 part in 254 of the
// head's largest).
KvLayer make_kv_layer(int64_t blocks, const AttentionShape& shape, at::ScalarType dtype);

// One sequence's rows of a ragged batch: [row_begin, row_end) are its tokens at positions [start, ...).
struct KvSequence {
  int64_t row_begin = 0, row_end = 0;
  int64_t start = 0;
  std::span<const int32_t> blocks;  // block table, covers every position up to the last row's
};

// Rotates q and k, appends k and v to the cache, attends causally to everything cached.
//   qkv [tokens, (heads + 2 kv_heads) * head_dim]; overwritten: q and k are rotated in place
//   returns [tokens, heads * head_dim]
// One reduction for prefill, chunks and decode, over blocks keyed by absolute position, that reads k and v back from
// the cache as stored: how a sequence is cut into steps cannot change a bit. Not differentiable.
at::Tensor paged_attention(at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope, const KvLayer& cache,
                           std::span<const KvSequence> sequences);

// The same for whole sequences without a cache: row i of sequence s is position i - cu_seqlens[s]. Differentiable by
// qkv (not overwritten); the forward pass runs the kernel above, bit for bit.
at::Tensor packed_attention(const at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope,
                            const std::vector<int32_t>& cu_seqlens);
at::Tensor packed_attention_composed(const at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope,
                                     const std::vector<int32_t>& cu_seqlens);

}  // namespace graft::ops
