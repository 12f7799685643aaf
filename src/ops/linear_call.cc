#include "ops/linear_call.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include "ops/cpu/transpose.h"
#include "ops/dropout.h"
#include "ops/dtype.h"
#include "ops/rows.h"

namespace graft::ops {

namespace {

int64_t max_rank(std::span<const LoraSegment> segments) {
  int64_t rank = 0;
  for (const LoraSegment& s : segments) rank = std::max(rank, s.lora->total_rank);
  return rank;
}

bool has_column_scales(const LinearCall& call) {
  for (const LoraSegment& s : call.segments) {
    for (const LoraPart& part : s.lora->parts) {
      if (part.column_scales != nullptr) return true;
    }
  }
  return false;
}

// f(the part, its columns' count, block): of each adapter with column scales. block(y): its rows and columns of `y`.
template <class F>
void for_scaled_parts(const LinearCall& call, const F& f) {
  for (const LoraSegment& s : call.segments) {
    for (const LoraPart& part : s.lora->parts) {
      if (part.column_scales == nullptr) continue;
      const cpu::WeightPart& w = call.weight->parts[static_cast<size_t>(part.part)];
      f(part, w.n, [&](const at::Tensor& y) {
        return y.narrow(0, s.row_begin, s.row_end - s.row_begin).narrow(1, w.column, w.n);
      });
    }
  }
}

at::Tensor as_tensor(const float* values, int64_t n) {
  return at::from_blob(const_cast<float*>(values), {n}, at::TensorOptions().dtype(at::kFloat));
}

void scale_columns(const LinearCall& call, const at::Tensor& y) {
  for_scaled_parts(call, [&](const LoraPart& part, int64_t n, const auto& block) {
    block(y).mul_(as_tensor(part.column_scales, n));
  });
}

// dm += sum over rows of dy * u / ||W + scale B A||, u being the output before its scaling.
void accumulate_magnitude_gradients(const LinearCall& call, const at::Tensor& unscaled, const at::Tensor& dy) {
  for_scaled_parts(call, [&](const LoraPart& part, int64_t n, const auto& block) {
    if (part.grad_magnitude == nullptr) return;
    const at::Tensor products = block(dy).to(at::kFloat) * block(unscaled).to(at::kFloat);
    as_tensor(part.grad_magnitude, n).add_(products.sum(0) * as_tensor(part.inverse_norms, n));
  });
}

bool has_dropout(const LinearCall& call) {
  for (const LoraSegment& s : call.segments) {
    if (s.lora->dropout > 0) return true;
  }
  return false;
}

// t [tokens, rank] = scale * x A^T of every segment.
template <class T>
std::vector<cpu::Shrink> shrink_jobs(const LinearCall& call, const at::Tensor& x, at::Tensor& t) {
  std::vector<cpu::Shrink> jobs;
  for (const LoraSegment& s : call.segments) {
    cpu::Shrink job;
    job.row_begin = s.row_begin;
    job.row_end = s.row_end;
    job.packed = s.lora->a;
    job.n = s.lora->total_rank;
    job.k = x.size(1);
    job.x = data<T>(x);
    job.ldx = x.size(1);
    job.alphas = s.lora->scales.data();
    job.t = mutable_data<T>(t);
    job.ldt = t.size(1);
    jobs.push_back(job);
  }
  return jobs;
}

template <class T>
std::vector<cpu::Graft> expand_grafts(const LinearCall& call, const at::Tensor& t) {
  std::vector<cpu::Graft> grafts;
  for (const LoraSegment& s : call.segments) {
    for (const LoraPart& part : s.lora->parts) {
      grafts.push_back({s.row_begin, s.row_end, part.part, data<T>(t) + part.column, t.size(1), part.b, part.rank});
    }
  }
  return grafts;
}

template <class T>
at::Tensor run_forward(const LinearCall& call, const at::Tensor& x, const at::Tensor& lora_x,
                       const at::Tensor& residual, at::Tensor& t, at::Tensor* unscaled = nullptr) {
  const LinearWeight& w = *call.weight;
  const int64_t rank = max_rank(call.segments);
  std::vector<cpu::Shrink> shrinks;
  std::vector<cpu::Graft> grafts;
  if (rank > 0) {
    t = at::empty({x.size(0), rank}, x.options());
    shrinks = shrink_jobs<T>(call, lora_x, t);
    grafts = expand_grafts<T>(call, t);
  }
  // With column scales the sum with the residual, and the rounding, come after them.
  const bool scaled = has_column_scales(call);
  const bool wide = scaled || residual.defined();
  at::Tensor y = at::empty({x.size(0), w.out_features}, wide ? x.options().dtype(at::kFloat) : x.options());
  cpu::ProductArgs args;
  args.a = data<T>(x);
  args.lda = x.size(1);
  args.m = x.size(0);
  args.k = w.in_features;
  args.format = w.format;
  args.parts = w.parts;
  args.shrinks = shrinks;
  args.grafts = grafts;
  if (residual.defined() && !scaled) {
    args.add = residual.const_data_ptr<float>();
    args.ldadd = w.out_features;
  }
  args.c = y.mutable_data_ptr();
  args.ldc = w.out_features;
  args.c_is_float = y.scalar_type() == at::kFloat;
  cpu::product<T>(args);
  if (!scaled) return y;
  if (unscaled != nullptr) *unscaled = y.to(x.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
  scale_columns(call, y);
  return residual.defined() ? y.add_(residual) : y.to(x.scalar_type());
}

// dt [tokens, rank] = scale * dy B of every segment.
template <class T>
at::Tensor shrink_gradients(const LinearCall& call, const at::Tensor& dy) {
  at::Tensor dt = at::empty({dy.size(0), max_rank(call.segments)}, dy.options());
  std::vector<cpu::Shrink> jobs;
  for (const LoraSegment& s : call.segments) {
    for (const LoraPart& part : s.lora->parts) {
      const cpu::WeightPart& w = call.weight->parts[static_cast<size_t>(part.part)];
      cpu::Shrink job;
      job.row_begin = s.row_begin;
      job.row_end = s.row_end;
      job.packed = part.bt;
      job.n = part.rank;
      job.k = w.n;
      job.x = data<T>(dy) + w.column;
      job.ldx = dy.size(1);
      job.alpha = part.scale;
      job.t = mutable_data<T>(dt) + part.column;
      job.ldt = dt.size(1);
      jobs.push_back(job);
    }
  }
  cpu::shrink<T>(jobs);
  return dt;
}

// Rows of a segment of m [tokens, rank], transposed: [rank, rows rounded up to even], zero-padded.
template <class T>
at::Tensor transpose_rows(const at::Tensor& m, int64_t begin, int64_t end) {
  const int64_t rows = end - begin;
  const int64_t rank = m.size(1);
  const int64_t even = rows + (rows & 1);
  at::Tensor out = at::empty({rank, even}, m.options());
  cpu::transpose(data<T>(m) + begin * rank, rank, rows, rank, mutable_data<T>(out), even);
  return out;
}

// Of the weight's dtype, contiguous.
at::Tensor narrowed(const at::Tensor& x, at::ScalarType dtype) {
  if (x.scalar_type() == dtype || x.scalar_type() != at::kFloat || !x.is_contiguous()) return x.to(dtype).contiguous();
  at::Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
  const int64_t n = x.size(1);
  const auto* from = x.const_data_ptr<float>();
  for_rows(x.size(0),
           [&](int64_t row) { typed_kernels(dtype).from_float(from + row * n, n, mutable_element(out, row * n)); });
  return out;
}

template <class T>
void accumulate_weight_gradients(const LinearCall& call, const at::Tensor& lora_x, const at::Tensor& t,
                                 const at::Tensor& dt, const at::Tensor& dy) {
  for (const LoraSegment& s : call.segments) {
    if (s.lora->grad_a == nullptr) continue;
    const int64_t rows = s.row_end - s.row_begin;
    const at::Tensor dt_t = transpose_rows<T>(dt, s.row_begin, s.row_end);
    cpu::accumulate_outer<T>(data<T>(dt_t), dt_t.size(1), s.lora->total_rank,
                             data<T>(lora_x) + s.row_begin * lora_x.size(1), lora_x.size(1), rows, lora_x.size(1),
                             s.lora->grad_a, lora_x.size(1));
    const at::Tensor t_t = transpose_rows<T>(t, s.row_begin, s.row_end);
    for (const LoraPart& part : s.lora->parts) {
      const cpu::WeightPart& w = call.weight->parts[static_cast<size_t>(part.part)];
      cpu::accumulate_outer<T>(data<T>(t_t) + part.column * t_t.size(1), t_t.size(1), part.rank,
                               data<T>(dy) + s.row_begin * dy.size(1) + w.column, dy.size(1), rows, w.n, part.grad_bt,
                               w.n);
    }
  }
}

template <class T>
at::Tensor input_gradient(const LinearCall& call, const at::Tensor& dy, const at::Tensor& dt) {
  // The gradient through quantised weights is the one through the values that they stand for; the rounding of the
  // activations counts as the identity.
  const bool quantised = call.weight->format != cpu::WeightFormat::kDense;
  const LinearWeight values = quantised ? dequantised(*call.weight) : LinearWeight();
  const LinearWeight& w = quantised ? values : *call.weight;
  at::Tensor dx = at::empty({dy.size(0), w.in_features}, dy.options());
  std::vector<cpu::Graft> grafts;
  const bool fused = !has_dropout(call);
  for (const LoraSegment& s : call.segments) {
    if (fused) grafts.push_back({s.row_begin, s.row_end, 0, data<T>(dt), dt.size(1), s.lora->at, s.lora->total_rank});
  }
  cpu::ProductArgs args;
  args.a = data<T>(dy);
  args.lda = dy.size(1);
  args.m = dy.size(0);
  args.k = w.in_features;
  args.parts = w.parts;
  args.grafts = grafts;
  args.c = mutable_data<T>(dx);
  args.ldc = w.in_features;
  cpu::product_transposed<T>(args);
  if (fused) return dx;
  // With dropout the adapter's share goes through the mask before it joins.
  for (const LoraSegment& s : call.segments) {
    const int64_t rows = s.row_end - s.row_begin;
    at::Tensor share = at::empty({rows, w.in_features}, dy.options());
    const cpu::WeightPart at_part{s.lora->at, w.in_features, 0};
    cpu::ProductArgs lora;
    lora.a = data<T>(dt) + s.row_begin * dt.size(1);
    lora.lda = dt.size(1);
    lora.m = rows;
    lora.k = s.lora->total_rank;
    lora.parts = {&at_part, 1};
    lora.c = mutable_data<T>(share);
    lora.ldc = w.in_features;
    cpu::product<T>(lora);
    dx.narrow(0, s.row_begin, rows).add_(dropout(share, s.lora->dropout, s.lora->dropout_stream));
  }
  return dx;
}

template <class T>
at::Tensor run_backward_input(const LinearCall& call, const at::Tensor& dy, at::Tensor& dt) {
  if (!call.segments.empty()) dt = shrink_gradients<T>(call, dy);
  return input_gradient<T>(call, dy, dt);
}

at::Tensor dropped(const LinearCall& call, const at::Tensor& x) {
  if (!has_dropout(call)) return x;
  at::Tensor out = at::empty_like(x);
  for (const LoraSegment& s : call.segments) {
    out.narrow(0, s.row_begin, s.row_end - s.row_begin)
        .copy_(dropout(x.narrow(0, s.row_begin, s.row_end - s.row_begin), s.lora->dropout, s.lora->dropout_stream));
  }
  return out;
}

}  // namespace

at::Tensor LinearCall::forward(const at::Tensor& x, const at::Tensor& residual, LinearSaved* saved) const {
  LinearSaved unused;
  LinearSaved& keep = saved == nullptr ? unused : *saved;
  at::Tensor* unscaled = saved == nullptr ? nullptr : &keep.unscaled;
  return weight->dtype == at::kBFloat16
             ? run_forward<cpu::bf16>(*this, x, dropped(*this, x), residual, keep.t, unscaled)
             : run_forward<float>(*this, x, dropped(*this, x), residual, keep.t, unscaled);
}

LinearGradients LinearCall::backward(const at::Tensor& dy, const LinearSaved& saved) const {
  LinearGradients out;
  out.dy = narrowed(dy, weight->dtype);
  if (saved.unscaled.defined()) {
    accumulate_magnitude_gradients(*this, saved.unscaled, out.dy);
    out.dy = out.dy.clone();
    scale_columns(*this, out.dy);
  }
  out.dx = weight->dtype == at::kBFloat16 ? run_backward_input<cpu::bf16>(*this, out.dy, out.dt)
                                          : run_backward_input<float>(*this, out.dy, out.dt);
  return out;
}

void LinearCall::accumulate(const at::Tensor& x, const LinearSaved& saved, const LinearGradients& gradients) const {
  if (segments.empty()) return;
  if (weight->dtype == at::kBFloat16) {
    accumulate_weight_gradients<cpu::bf16>(*this, dropped(*this, x), saved.t, gradients.dt, gradients.dy);
  } else {
    accumulate_weight_gradients<float>(*this, dropped(*this, x), saved.t, gradients.dt, gradients.dy);
  }
}

}  // namespace graft::ops
