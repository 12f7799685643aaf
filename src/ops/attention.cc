#include "ops/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <cmath>
#include <cstring>

#include "ops/dtype.h"
#include "ops/rows.h"

namespace graft::ops {

namespace {

constexpr int64_t kMaxHeadDim = 256;

int64_t block_elements(const AttentionShape& shape) { return shape.head_dim * kKvBlockSize; }
int64_t qkv_width(const AttentionShape& shape) { return (shape.heads + 2 * shape.kv_heads) * shape.head_dim; }

void check(const at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope) {
  TORCH_CHECK(qkv.dim() == 2 && qkv.is_contiguous() && qkv.size(1) == qkv_width(shape),
              "[attention] qkv must be contiguous [tokens, ", qkv_width(shape), "]");
  TORCH_CHECK(shape.head_dim % 16 == 0 && shape.head_dim <= kMaxHeadDim && shape.heads % shape.kv_heads == 0,
              "[attention] head_dim must be a multiple of 16 up to 256, heads a multiple of kv_heads");
  TORCH_CHECK(rope.half * 2 == shape.head_dim, "[attention] rope table is for another head_dim");
}

// Rotates the first `heads` heads of one row.
void rotate_row(at::Tensor& qkv, int64_t row, int64_t heads, int64_t head_dim, const RopeTable& rope, int64_t position,
                float sign) {
  const float* cos = rope.cos.const_data_ptr<float>() + position * rope.half;
  const float* sin = rope.sin.const_data_ptr<float>() + position * rope.half;
  const auto& kernels = typed_kernels(qkv.scalar_type());
  for (int64_t head = 0; head < heads; ++head) {
    kernels.rope(mutable_element(qkv, row * qkv.size(1) + head * head_dim), cos, sin, head_dim, sign);
  }
}

// Where position `p` (within its block) and dimension `i` lie, by the layouts of cpu/impl/attention.inc. Width:
// elements along k beside each other in a panel.
template <int64_t Width, class E>
void store_position(const E* k, const E* v, int64_t head_dim, int64_t p, E* k_block, E* v_block) {
  for (int64_t i = 0; i < head_dim; ++i) {
    k_block[i / Width * Width * cpu::kPanel + p * Width + i % Width] = k[i];
    v_block[i / cpu::kPanel * cpu::kPanel * kKvBlockSize + p / Width * Width * cpu::kPanel + i % cpu::kPanel * Width +
            p % Width] = v[i];
  }
}

// x [head_dim] -> q, returns the scale: x = q * scale, q in [-127, 127].
template <class T>
float quantise_head(const T* x, int64_t head_dim, int8_t* q) {
  float largest = 0.0F;
  for (int64_t i = 0; i < head_dim; ++i) largest = std::max(largest, std::abs(cpu::to_float(x[i])));
  const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
  for (int64_t i = 0; i < head_dim; ++i) q[i] = static_cast<int8_t>(std::lrint(cpu::to_float(x[i]) * inverse));
  return largest / 127.0F;
}

// Writes heads of one position into their block. `block` counts blocks, `head` kv heads.
template <class T>
class KvWriter {
 public:
  KvWriter(const KvLayer& cache, const AttentionShape& shape)
      : cache_(cache), shape_(shape), quantised_(cache.k.scalar_type() == at::kChar) {}

  // What an earlier owner left behind must not meet a zero probability as a NaN.
  void clear(int64_t block) const {
    const int64_t elements = shape_.kv_heads * block_elements(shape_);
    const auto bytes = static_cast<size_t>(elements) * (quantised_ ? 1 : sizeof(T));
    for (const at::Tensor* t : {&cache_.k, &cache_.v}) {
      std::memset(static_cast<char*>(t->mutable_data_ptr()) + static_cast<size_t>(block) * bytes, 0, bytes);
    }
    if (!quantised_) return;
    for (const at::Tensor* t : {&cache_.k_scales, &cache_.v_scales}) {
      std::fill_n(t->mutable_data_ptr<float>() + block * shape_.kv_heads * kKvBlockSize, shape_.kv_heads * kKvBlockSize,
                  0.0F);
    }
  }

  void store(int64_t block, int64_t head, int64_t position, const T* k, const T* v) const {
    constexpr int64_t kWidth = sizeof(T) == 2 ? 2 : 1;
    const int64_t place = block * shape_.kv_heads + head;
    const int64_t at = place * block_elements(shape_);
    if (!quantised_) {
      store_position<kWidth>(k, v, shape_.head_dim, position, static_cast<T*>(cache_.k.mutable_data_ptr()) + at,
                             static_cast<T*>(cache_.v.mutable_data_ptr()) + at);
      return;
    }
    std::array<int8_t, kMaxHeadDim> k8;
    std::array<int8_t, kMaxHeadDim> v8;
    const int64_t scale = place * kKvBlockSize + position;
    cache_.k_scales.mutable_data_ptr<float>()[scale] = quantise_head(k, shape_.head_dim, k8.data());
    cache_.v_scales.mutable_data_ptr<float>()[scale] = quantise_head(v, shape_.head_dim, v8.data());
    store_position<kWidth>(k8.data(), v8.data(), shape_.head_dim, position, cache_.k.mutable_data_ptr<int8_t>() + at,
                           cache_.v.mutable_data_ptr<int8_t>() + at);
  }

 private:
  const KvLayer& cache_;
  const AttentionShape& shape_;
  bool quantised_;
};

// Rows of one sequence that share a KV block.
struct BlockRows {
  const KvSequence* sequence;
  int64_t row_begin, row_end;
};

template <class T>
void store_rows(at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope, const KvLayer& cache,
                const BlockRows& rows) {
  const KvSequence& s = *rows.sequence;
  const int64_t d = shape.head_dim;
  const KvWriter<T> writer(cache, shape);
  for (int64_t row = rows.row_begin; row < rows.row_end; ++row) {
    const int64_t position = s.start + row - s.row_begin;
    rotate_row(qkv, row, shape.heads + shape.kv_heads, d, rope, position, 1.0F);
    const int64_t block = s.blocks[static_cast<size_t>(position / kKvBlockSize)];
    if (position % kKvBlockSize == 0) writer.clear(block);
    const T* k = data<T>(qkv) + row * qkv.size(1) + shape.heads * d;
    for (int64_t head = 0; head < shape.kv_heads; ++head) {
      writer.store(block, head, position % kKvBlockSize, k + head * d, k + (shape.kv_heads + head) * d);
    }
  }
}

template <class T>
void store_all(at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope, const KvLayer& cache,
               std::span<const KvSequence> sequences) {
  std::vector<BlockRows> work;
  for (const KvSequence& s : sequences) {
    for (int64_t row = s.row_begin; row < s.row_end;) {
      const int64_t position = s.start + row - s.row_begin;
      const int64_t end = std::min(s.row_end, row + kKvBlockSize - position % kKvBlockSize);
      work.push_back({&s, row, end});
      row = end;
    }
  }
  cpu::parallel_for(static_cast<int64_t>(work.size()),
                    [&](int64_t i) { store_rows<T>(qkv, shape, rope, cache, work[static_cast<size_t>(i)]); });
}

// Query rows of one task: several tokens of one head, or the heads of one kv head at one token.
struct QueryRows {
  const KvSequence* sequence;
  int64_t row_begin, row_end;
  int64_t head;  // first one
  int64_t heads;
};

std::vector<QueryRows> query_tasks(const AttentionShape& shape, std::span<const KvSequence> sequences) {
  constexpr int64_t kRowsPerTask = 8 * cpu::kTileRows;
  const int64_t group = shape.heads / shape.kv_heads;
  std::vector<QueryRows> tasks;
  for (const KvSequence& s : sequences) {
    if (s.row_end - s.row_begin == 1) {
      for (int64_t kv = 0; kv < shape.kv_heads; ++kv) tasks.push_back({&s, s.row_begin, s.row_end, kv * group, group});
      continue;
    }
    for (int64_t head = 0; head < shape.heads; ++head) {
      for (int64_t row = s.row_begin; row < s.row_end; row += kRowsPerTask) {
        tasks.push_back({&s, row, std::min(s.row_end, row + kRowsPerTask), head, 1});
      }
    }
  }
  return tasks;
}

template <class T>
void attend_task(const at::Tensor& qkv, const AttentionShape& shape, const KvLayer& cache, const QueryRows& task,
                 at::Tensor& out, float* lse) {
  const KvSequence& s = *task.sequence;
  const int64_t d = shape.head_dim;
  const int64_t kv_head = task.head / (shape.heads / shape.kv_heads);
  const bool by_head = task.heads > 1 || task.row_end - task.row_begin == 1;
  cpu::AttentionArgs args;
  args.q = data<T>(qkv) + task.row_begin * qkv.size(1) + task.head * d;
  args.q_stride = by_head ? d : qkv.size(1);
  args.rows = static_cast<int>(by_head ? task.heads : task.row_end - task.row_begin);
  args.position = s.start + task.row_begin - s.row_begin;
  args.position_step = by_head ? 0 : 1;
  if (cache.k.scalar_type() == at::kChar) {
    args.k_cache = cache.k.const_data_ptr<int8_t>() + kv_head * block_elements(shape);
    args.v_cache = cache.v.const_data_ptr<int8_t>() + kv_head * block_elements(shape);
    args.k_scales = cache.k_scales.const_data_ptr<float>() + kv_head * kKvBlockSize;
    args.v_scales = cache.v_scales.const_data_ptr<float>() + kv_head * kKvBlockSize;
    args.scale_stride = shape.kv_heads * kKvBlockSize;
  } else {
    args.k_cache = data<T>(cache.k) + kv_head * block_elements(shape);
    args.v_cache = data<T>(cache.v) + kv_head * block_elements(shape);
  }
  args.block_stride = shape.kv_heads * block_elements(shape);
  args.blocks = s.blocks.data();
  args.head_dim = d;
  args.scale = shape.scale;
  args.out = mutable_data<T>(out) + task.row_begin * out.size(1) + task.head * d;
  args.out_stride = by_head ? d : out.size(1);
  args.lse = lse == nullptr ? nullptr : lse + task.row_begin * shape.heads + task.head;
  args.lse_stride = by_head ? 1 : shape.heads;
  cpu::typed_kernels<T>().attention(args);
}

template <class T>
at::Tensor run_paged(at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope, const KvLayer& cache,
                     std::span<const KvSequence> sequences, float* lse) {
  store_all<T>(qkv, shape, rope, cache, sequences);
  at::Tensor out = at::empty({qkv.size(0), shape.heads * shape.head_dim}, qkv.options());
  const std::vector<QueryRows> tasks = query_tasks(shape, sequences);
  cpu::parallel_for(static_cast<int64_t>(tasks.size()),
                    [&](int64_t i) { attend_task<T>(qkv, shape, cache, tasks[static_cast<size_t>(i)], out, lse); });
  return out;
}

at::Tensor dispatch_paged(at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope, const KvLayer& cache,
                          std::span<const KvSequence> sequences, float* lse) {
  return qkv.scalar_type() == at::kBFloat16 ? run_paged<cpu::bf16>(qkv, shape, rope, cache, sequences, lse)
                                            : run_paged<float>(qkv, shape, rope, cache, sequences, lse);
}

// Whole sequences as a cache whose block tables count upwards.
struct TemporaryCache {
  std::vector<int32_t> blocks;
  std::vector<KvSequence> sequences;
  KvLayer layer;
};

TemporaryCache temporary_cache(const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                               at::ScalarType dtype) {
  TemporaryCache cache;
  int64_t blocks = 0;
  for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    blocks += (cu_seqlens[i + 1] - cu_seqlens[i] + kKvBlockSize - 1) / kKvBlockSize;
  }
  cache.blocks.resize(static_cast<size_t>(blocks));
  for (size_t i = 0; i < cache.blocks.size(); ++i) cache.blocks[i] = static_cast<int32_t>(i);
  cache.layer = make_kv_layer(blocks, shape, dtype);
  size_t first = 0;
  for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i) {
    const auto count = static_cast<size_t>((cu_seqlens[i + 1] - cu_seqlens[i] + kKvBlockSize - 1) / kKvBlockSize);
    cache.sequences.push_back(
        {cu_seqlens[i], cu_seqlens[i + 1], 0, std::span<const int32_t>(cache.blocks).subspan(first, count)});
    first += count;
  }
  return cache;
}

template <class T>
void backward_sequences(const at::Tensor& rotated, const at::Tensor& out, const at::Tensor& dout, const at::Tensor& lse,
                        const AttentionShape& shape, const std::vector<int32_t>& cu_seqlens, at::Tensor& dqkv) {
  const int64_t sequences = static_cast<int64_t>(cu_seqlens.size()) - 1;
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t d = shape.head_dim;
  cpu::parallel_for(sequences * shape.kv_heads, [&](int64_t task) {
    const auto s = static_cast<size_t>(task / shape.kv_heads);
    const int64_t kv = task % shape.kv_heads;
    const int64_t row = cu_seqlens[s];
    const int64_t width = rotated.size(1);
    cpu::AttentionBackwardArgs args;
    args.length = cu_seqlens[s + 1] - row;
    args.head_dim = d;
    args.group = static_cast<int>(group);
    args.scale = shape.scale;
    const T* base = data<T>(rotated) + row * width;
    args.q = base + kv * group * d;
    args.k = base + (shape.heads + kv) * d;
    args.v = base + (shape.heads + shape.kv_heads + kv) * d;
    args.qkv_stride = width;
    args.out = data<T>(out) + row * out.size(1) + kv * group * d;
    args.dout = data<T>(dout) + row * out.size(1) + kv * group * d;
    args.out_stride = out.size(1);
    args.lse = lse.const_data_ptr<float>() + row * shape.heads + kv * group;
    args.lse_stride = shape.heads;
    T* to = mutable_data<T>(dqkv) + row * width;
    args.dq = to + kv * group * d;
    args.dk = to + (shape.heads + kv) * d;
    args.dv = to + (shape.heads + shape.kv_heads + kv) * d;
    args.dqkv_stride = width;
    cpu::typed_kernels<T>().attention_backward(args);
  });
}

struct PackedCall : torch::CustomClassHolder {
  AttentionShape shape;
  RopeTable rope;
  std::vector<int32_t> cu_seqlens;
};

class PackedAttention : public torch::autograd::Function<PackedAttention> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& qkv,
                            const c10::intrusive_ptr<PackedCall>& call) {
    at::AutoDispatchBelowADInplaceOrView guard;
    at::Tensor rotated = qkv.clone();
    const at::Tensor lse = at::empty({qkv.size(0), call->shape.heads}, qkv.options().dtype(at::kFloat));
    const TemporaryCache cache = temporary_cache(call->cu_seqlens, call->shape, qkv.scalar_type());
    at::Tensor out =
        dispatch_paged(rotated, call->shape, call->rope, cache.layer, cache.sequences, lse.mutable_data_ptr<float>());
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    ctx->save_for_backward({rotated, out, lse});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const auto call = c10::static_intrusive_pointer_cast<PackedCall>(ctx->saved_data["call"].toCapsule());
    const auto saved = ctx->get_saved_variables();
    const at::Tensor dout = grads[0].contiguous();
    at::Tensor dqkv = at::empty(saved[0].sizes(), saved[0].options());
    const AttentionShape& shape = call->shape;
    if (dqkv.scalar_type() == at::kBFloat16) {
      backward_sequences<cpu::bf16>(saved[0], saved[1], dout, saved[2], shape, call->cu_seqlens, dqkv);
    } else {
      backward_sequences<float>(saved[0], saved[1], dout, saved[2], shape, call->cu_seqlens, dqkv);
    }
    for (size_t s = 0; s + 1 < call->cu_seqlens.size(); ++s) {
      const int64_t first = call->cu_seqlens[s];
      for_rows(call->cu_seqlens[s + 1] - first, [&](int64_t position) {
        rotate_row(dqkv, first + position, shape.heads + shape.kv_heads, shape.head_dim, call->rope, position, -1.0F);
      });
    }
    return {dqkv, at::Tensor()};
  }
};

}  // namespace

KvLayer make_kv_layer(int64_t blocks, const AttentionShape& shape, at::ScalarType dtype) {
  const auto options = at::TensorOptions().dtype(dtype);
  KvLayer layer;
  layer.k = at::empty({blocks, shape.kv_heads, block_elements(shape)}, options);
  layer.v = at::empty_like(layer.k);
  if (dtype == at::kChar) {
    layer.k_scales = at::empty({blocks, shape.kv_heads, kKvBlockSize}, options.dtype(at::kFloat));
    layer.v_scales = at::empty_like(layer.k_scales);
  }
  return layer;
}

at::Tensor paged_attention(at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope, const KvLayer& cache,
                           std::span<const KvSequence> sequences) {
  check(qkv, shape, rope);
  return dispatch_paged(qkv, shape, rope, cache, sequences, nullptr);
}

at::Tensor packed_attention(const at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope,
                            const std::vector<int32_t>& cu_seqlens) {
  check(qkv, shape, rope);
  if (!qkv.requires_grad()) {
    const TemporaryCache cache = temporary_cache(cu_seqlens, shape, qkv.scalar_type());
    at::Tensor rotated = qkv.clone();
    return dispatch_paged(rotated, shape, rope, cache.layer, cache.sequences, nullptr);
  }
  auto call = c10::make_intrusive<PackedCall>();
  call->shape = shape;
  call->rope = rope;
  call->cu_seqlens = cu_seqlens;
  return PackedAttention::apply(qkv, call);
}

at::Tensor packed_attention_composed(const at::Tensor& qkv, const AttentionShape& shape, const RopeTable& rope,
                                     const std::vector<int32_t>& cu_seqlens) {
  const int64_t d = shape.head_dim;
  const int64_t group = shape.heads / shape.kv_heads;
  const auto turn = [&](const at::Tensor& x, int64_t length) {  // [length, heads, d]
    const at::Tensor cos = rope.cos.narrow(0, 0, length).unsqueeze(1);
    const at::Tensor sin = rope.sin.narrow(0, 0, length).unsqueeze(1);
    const at::Tensor lo = x.narrow(2, 0, d / 2);
    const at::Tensor hi = x.narrow(2, d / 2, d / 2);
    return at::cat({lo * cos - hi * sin, hi * cos + lo * sin}, 2);
  };
  std::vector<at::Tensor> outs;
  for (size_t s = 0; s + 1 < cu_seqlens.size(); ++s) {
    const int64_t length = cu_seqlens[s + 1] - cu_seqlens[s];
    const at::Tensor rows = qkv.narrow(0, cu_seqlens[s], length).to(at::kFloat).view({length, -1, d});
    const at::Tensor q = turn(rows.narrow(1, 0, shape.heads), length).transpose(0, 1);
    const at::Tensor k = turn(rows.narrow(1, shape.heads, shape.kv_heads), length).transpose(0, 1);
    const at::Tensor v = rows.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads).transpose(0, 1);
    const at::Tensor mask = at::ones({length, length}, rows.options()).tril() == 0;
    const at::Tensor scores = at::matmul(q, k.repeat_interleave(group, 0).transpose(1, 2)) * shape.scale;
    const at::Tensor p = at::softmax(scores.masked_fill(mask, -1e30), -1);
    outs.push_back(at::matmul(p, v.repeat_interleave(group, 0)).transpose(0, 1).reshape({length, -1}));
  }
  return at::cat(outs, 0).to(qkv.scalar_type());
}

}  // namespace graft::ops
